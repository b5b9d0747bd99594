"""Random finite MDPs.

Shape legend: P tasks, E copies of each, S states, A actions, X = S · A pairs.
"""

import torch
from torch import Tensor

from quickstudy.envs import rng
from quickstudy.envs.errors import require_positive
from quickstudy.envs.families.tabular_mdp import plan
from quickstudy.envs.tabular.tabular_tasks import Rows, TabularStep, TabularTasks


class RandomMDPs(TabularTasks):
    """For each state and action the next state's probabilities are Dirichlet(1, …, 1), and the
    reward is a number drawn from N(0, 1), the same each time.

    Episodes start in state 0 and last `horizon` steps. Transitions are those of Osband et al. 2013
    and Duan et al. 2016, as in the family TabularMDP; there, rewards have mean 1 and are noisy.

    Draws of a step: 0 the next state.
    """

    num_draws = 1

    def __init__(self, num_states: int = 10, num_actions: int = 5, horizon: int = 10) -> None:
        require_positive("num_states", num_states)
        require_positive("num_actions", num_actions)
        require_positive("horizon", horizon)
        self.num_states = num_states
        self.num_actions = num_actions
        self.horizon = horizon

    def sample(self, key_P: Tensor) -> Rows:
        """`reward` (P, X) float32 of state s and action a at s · A + a; `cumulative` (P, X, S)
        float64, the probability of a next state up to each, the last one 1.
        """
        pairs = self.num_states * self.num_actions
        key_PX = rng.fold_in(key_P.unsqueeze(1), torch.arange(pairs))
        weight_PXS = -torch.log1p(-rng.uniform(key_PX, self.num_states))
        total_PXS = weight_PXS.cumsum(dim=2)
        return {
            "reward": rng.normal(rng.fold_in(key_P, pairs), pairs).float(),
            "cumulative": total_PXS / total_PXS[..., -1:],
        }

    def begin(self, tasks: Rows, draw_PEU: Tensor) -> Rows:
        zero_PE = torch.zeros(draw_PEU.shape[:2], dtype=torch.int64)
        return {"state": zero_PE, "time": zero_PE}

    def state(self, tasks: Rows, worlds: Rows) -> Tensor:
        return worlds["state"]

    def step(self, tasks: Rows, worlds: Rows, action_PE: Tensor, draw_PEU: Tensor) -> TabularStep:
        pair_PE = worlds["state"] * self.num_actions + action_PE
        each_P1 = torch.arange(len(pair_PE)).unsqueeze(1)
        # Without the last column: where rounding makes a draw 1, it still picks a state.
        passed_PES = tasks["cumulative"][each_P1, pair_PE, :-1] <= draw_PEU
        time_PE = worlds["time"] + 1
        ended_PE = time_PE >= self.horizon
        after = {"state": passed_PES.sum(dim=2), "time": time_PE}
        after = {name: row.masked_fill(ended_PE, 0) for name, row in after.items()}
        return TabularStep(after, tasks["reward"].gather(1, pair_PE), ended_PE)

    def optimal_return(self, tasks: Rows) -> Tensor:
        """Of the best policy that may look at the clock, which the state does not show."""
        shape = (-1, self.num_states, self.num_actions)
        cumulative_PXS = tasks["cumulative"]
        chance_PXS = cumulative_PXS.diff(dim=2, prepend=torch.zeros_like(cumulative_PXS[..., :1]))
        reward_PSA = tasks["reward"].double().view(shape)
        chance_PSAS = chance_PXS.view(*shape, self.num_states)
        _, value_PS = plan(reward_PSA, chance_PSAS, self.horizon)
        return value_PS[:, 0]
