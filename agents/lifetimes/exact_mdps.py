"""Small MDPs whose returns, visits and advantages are computed, not sampled.

Shape legend: P MDPs, S states, A actions; the last S of `(P, S, A, S)` is the next state.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy.envs import rng

NUM_STATES = 5
NUM_ACTIONS = 2
SLIP = 0.2
"""How often the chain does the other action instead (Strens 2000)."""
NEAR_REWARD = 0.2
FAR_REWARD = 1.0


@dataclass(frozen=True)
class FiniteMDPs:
    """P continuing MDPs, all float64."""

    reward_PSA: Tensor
    """The expected reward of an action in a state."""
    transition_PSAS: Tensor
    """The probabilities of the next state."""
    start_PS: Tensor
    """The probabilities of the first state."""


@dataclass(frozen=True)
class Evaluation:
    """What policies are worth, in MDPs with a discount γ; float64."""

    visits_PS: Tensor
    """d(s) = (1 − γ) Σ_t γ^t P(s_t = s): sums to 1."""
    advantage_PSA: Tensor
    """A(s, a) = Q(s, a) − V(s), discounted, in units of reward."""
    return_P: Tensor
    """(1 − γ) E[Σ_t γ^t r_t] = Σ d π r: the discounted return per step, in units of reward."""


def evaluate(mdps: FiniteMDPs, policy_PSA: Tensor, discount: float) -> Evaluation:
    """Visits, advantages and return of stationary policies, by one linear solve; differentiable.

    With M = (I − γ P_π)⁻¹ the visits are (1 − γ) ρᵀ M and the values M r_π. By the policy gradient
    theorem (Sutton et al. 2000, theorem 1) ∇ return = Σ_s d(s) Σ_a A(s, a) ∇π(a|s).
    """
    step_PSS = torch.einsum("psa,psat->pst", policy_PSA, mdps.transition_PSAS)
    reward_PS = (policy_PSA * mdps.reward_PSA).sum(dim=2)
    identity = torch.eye(step_PSS.shape[1], dtype=torch.float64)
    inverse_PSS = torch.linalg.inv(identity - discount * step_PSS)
    visits_PS = (1.0 - discount) * (mdps.start_PS.unsqueeze(1) @ inverse_PSS).squeeze(1)
    value_PS = (inverse_PSS @ reward_PS.unsqueeze(2)).squeeze(2)
    next_PSA = torch.einsum("psat,pt->psa", mdps.transition_PSAS, value_PS)
    advantage_PSA = mdps.reward_PSA + discount * next_PSA - value_PS.unsqueeze(2)
    return Evaluation(visits_PS, advantage_PSA, (visits_PS * reward_PS).sum(dim=1))


def chains(key_P: Tensor) -> FiniteMDPs:
    """Copies of the five-state chain (Dearden, Friedman & Russell 1998; Strens 2000).

    Action 0 goes on to the next state, and pays 1 where there is none (the far end, state 4);
    action 1 goes back to state 0 and pays 0.2 wherever it is taken. Of both, one in five does what
    the other would have done. Rewards are a tenth of the published ones (10 and 2).

    A myopic rule and a far-sighted one differ (figures at γ = 0.9): under the uniform policy the
    advantage of action 1 is positive in states 0 and 1, where 80 % of the visits are, so gradient
    ascent begins by learning to go back there, which makes the far end rare, though going on
    everywhere is the best policy (0.255 per step; 0.160 for always going back, 0.121 for chance).
    An entropy bonus costs return in the next update and gains it over 40.
    """
    forward_SS = torch.zeros(NUM_STATES, NUM_STATES, dtype=torch.float64)
    forward_SS[torch.arange(NUM_STATES), [1, 2, 3, 4, 4]] = 1.0
    back_SS = torch.zeros_like(forward_SS)
    back_SS[:, 0] = 1.0
    pays_SA = torch.tensor([[0.0, NEAR_REWARD]] * NUM_STATES, dtype=torch.float64)
    pays_SA[-1, 0] = FAR_REWARD
    moves_SAS = torch.stack([forward_SS, back_SS], dim=1)
    return FiniteMDPs(
        ((1.0 - SLIP) * pays_SA + SLIP * pays_SA.flip(1)).expand(len(key_P), -1, -1),
        ((1.0 - SLIP) * moves_SAS + SLIP * moves_SAS.flip(1)).expand(len(key_P), -1, -1, -1),
        _start_in_0(len(key_P)),
    )


def random_mdps(key_P: Tensor) -> FiniteMDPs:
    """One MDP per key: rewards N(0, 1), next states Dirichlet(1, …, 1), start in state 0.

    The prior of Duan et al. 2016 (RL², section 3.2), its rewards centred, on fewer states.
    """
    pairs = NUM_STATES * NUM_ACTIONS
    reward_PX = rng.normal(rng.fold_in(key_P, 0), pairs)
    # Exponential draws, normalised, are Dirichlet(1, …, 1).
    weight_PX = -torch.log1p(-rng.uniform(rng.fold_in(key_P, 1), pairs * NUM_STATES))
    weight_PSAS = weight_PX.view(-1, NUM_STATES, NUM_ACTIONS, NUM_STATES)
    return FiniteMDPs(
        reward_PX.view(-1, NUM_STATES, NUM_ACTIONS),
        weight_PSAS / weight_PSAS.sum(dim=3, keepdim=True),
        _start_in_0(len(key_P)),
    )


def _start_in_0(num_mdps: int) -> Tensor:
    start_PS = torch.zeros(num_mdps, NUM_STATES, dtype=torch.float64)
    start_PS[:, 0] = 1.0
    return start_PS
