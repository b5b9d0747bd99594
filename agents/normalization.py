"""Running statistics: of the agent's inputs, and of the return that scales rewards.

Shape legend: T time, B worlds, F features.
"""

import torch
from torch import Tensor, nn

CLIP = 10.0
EPSILON = 1e-8


class RunningMoments(nn.Module):
    """Mean and variance of everything seen, merged batch by batch (Chan et al. 1979)."""

    mean_F: Tensor
    var_F: Tensor
    count: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean_F", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("var_F", torch.ones(size, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    def update(self, rows: Tensor) -> None:
        """Merge rows `(..., F)`."""
        rows_NF = rows.reshape(-1, rows.shape[-1]).to(torch.float64)
        var_F, mean_F = torch.var_mean(rows_NF, dim=0, correction=0)
        total = self.count + len(rows_NF)
        share = len(rows_NF) / total
        delta_F = mean_F - self.mean_F
        # Before the first batch `count` is 0, so the initial variance of 1 drops out.
        self.var_F = (1 - share) * self.var_F + share * var_F + share * (1 - share) * delta_F**2
        self.mean_F = self.mean_F + share * delta_F
        self.count = total

    def normalize(self, rows: Tensor) -> Tensor:
        """Zero mean and unit variance, clipped to ±10; float32 `(..., F)`."""
        scale_F = (self.var_F + EPSILON).rsqrt().to(torch.float32)
        return ((rows - self.mean_F.to(torch.float32)) * scale_F).clamp(-CLIP, CLIP)


class RewardScaler(nn.Module):
    """Divides rewards by the running standard deviation of the discounted return.

    The return is tracked per world and restarts with each trial (Engstrom et al. 2020 describe the
    trick for episodes). The mean is not subtracted: that would change the task.
    """

    return_B: Tensor

    def __init__(self, num_worlds: int, discount: float) -> None:
        super().__init__()
        self.discount = discount
        self.moments = RunningMoments(1)
        self.register_buffer("return_B", torch.zeros(num_worlds, dtype=torch.float64))

    def update(self, reward_TB: Tensor, trial_start_TB: Tensor) -> None:
        """Track a rollout; `trial_start_TB` is True where a step is the first of its trial."""
        returns = []
        keep_TB = (~trial_start_TB).to(torch.float64)
        for reward_B, keep_B in zip(reward_TB.to(torch.float64), keep_TB, strict=True):
            self.return_B = self.discount * keep_B * self.return_B + reward_B
            returns.append(self.return_B)
        self.moments.update(torch.stack(returns).unsqueeze(-1))

    def scale(self, reward_TB: Tensor) -> Tensor:
        """The scaled rewards, float32."""
        return reward_TB * (self.moments.var_F + EPSILON).rsqrt().to(torch.float32)
