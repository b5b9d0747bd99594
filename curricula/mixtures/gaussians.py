"""One Gaussian: its density, its distance from another, and natural steps away from it.

Shape legend: n points, d dimensions.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian with a full covariance, float64."""

    mean_d: Tensor
    covariance_dd: Tensor

    def whitened(self, points_nd: Tensor) -> Tensor:
        """The points in coordinates in which this Gaussian is the standard normal one, `(n, d)`."""
        away_dn = (points_nd - self.mean_d).T
        z_dn: Tensor = torch.linalg.solve_triangular(self._root_dd(), away_dn, upper=False)
        return z_dn.T

    def drawn(self, normal_nd: Tensor) -> Tensor:
        """Points `(n, d)` from standard normal draws: the reverse of `whitened`."""
        return self.mean_d + normal_nd @ self._root_dd().T

    def log_density(self, points_nd: Tensor) -> Tensor:
        """In nats, `(n,)`."""
        square_n = self.whitened(points_nd).square().sum(1)
        return -(square_n + self._log_det() + len(self.mean_d) * math.log(2 * math.pi)) / 2

    def stepped(self, step: "Step", size: float) -> "Gaussian":
        """This Gaussian moved by `size` times the step."""
        root_dd = self._root_dd()
        growth_dd = torch.linalg.matrix_exp(size * step.growth_dd)
        mean_d = self.mean_d + root_dd @ (size * step.shift_d)
        return Gaussian(mean_d, root_dd @ growth_dd @ root_dd.T)

    def steepest_to(self, target: "Gaussian") -> "Step":
        """The natural gradient of −KL(this ‖ target) in this Gaussian's parameters."""
        root_dd = self._root_dd()
        pull_dd = torch.cholesky_solve(root_dd, target._root_dd())
        shift_d = pull_dd.T @ (target.mean_d - self.mean_d)
        return Step(shift_d, torch.eye(len(shift_d)).to(root_dd) - root_dd.T @ pull_dd)

    def _root_dd(self) -> Tensor:
        root_dd: Tensor = torch.linalg.cholesky(self.covariance_dd)
        return root_dd

    def _log_det(self) -> Tensor:
        return 2 * self._root_dd().diagonal().log().sum()


@dataclass(frozen=True)
class Step:
    """A direction in which a Gaussian can move, in its own whitened coordinates.

    The mean moves by `shift_d`; the covariance, the identity there, becomes exp(`growth_dd`), so
    that it stays one however far the step.
    """

    shift_d: Tensor
    growth_dd: Tensor

    def plus(self, other: "Step", factor: float) -> "Step":
        """This step and `factor` times the other."""
        growth_dd = self.growth_dd + factor * other.growth_dd
        return Step(self.shift_d + factor * other.shift_d, growth_dd)

    def length(self) -> float:
        """√(2 KL(before ‖ after)) to the first order: the Fisher metric's norm."""
        return math.sqrt(float(self.shift_d.square().sum() + self.growth_dd.square().sum() / 2))


def steepest(gaussian: Gaussian, points_nd: Tensor, worth_n: Tensor) -> Step:
    """The natural gradient of what points drawn from a Gaussian are worth on average.

    With z the whitened points and w their worth, the Fisher matrix's inverse times the score
    function's gradient (Amari 1998; for Gaussians Wierstra et al. 2014, section 3.2) is
    mean(w z) for the mean, mean(w (z zᵀ − 1)) for the covariance.
    """
    z_nd = gaussian.whitened(points_nd)
    weighted_nd = worth_n.unsqueeze(1) * z_nd
    identity_dd = torch.eye(z_nd.shape[1]).to(z_nd)
    growth_dd = weighted_nd.T @ z_nd / len(z_nd) - worth_n.mean() * identity_dd
    return Step(weighted_nd.mean(0), (growth_dd + growth_dd.T) / 2)


def kl_divergence(first: Gaussian, second: Gaussian) -> float:
    """KL(first ‖ second) in nats.

    ½ [tr(Σ₂⁻¹ Σ₁) + (μ₂ − μ₁)ᵀ Σ₂⁻¹ (μ₂ − μ₁) − d + log det Σ₂ − log det Σ₁]
    """
    spread = torch.cholesky_solve(first.covariance_dd, second._root_dd()).trace()
    away = second.whitened(first.mean_d.unsqueeze(0)).square().sum()
    log_ratio = second._log_det() - first._log_det()
    return float(spread + away - len(first.mean_d) + log_ratio) / 2
