"""Collecting experience: T steps in B worlds, with what the agent saw, did and expected.

Shape legend: T time, B worlds, O observation features, A action dimensions.
"""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from quickstudy.agents.agent import Agent
from quickstudy.agents.sequence_model import State
from quickstudy.envs import rng
from quickstudy.envs.trials import TimeStep, TrialEnv

Rows = dict[str, Tensor]
"""Parts of a rollout by name: of one step `(B, …)`, or of all `(T, B, …)`."""

SEEN = (
    "observation",
    "previous_action",
    "previous_reward",
    "episode_start",
    "trial_start",
    "clock",
)
"""What a rollout keeps of the time step that was acted on."""


@dataclass(frozen=True)
class Rollout:
    """T consecutive steps of B worlds; index t holds what was seen at t and what its action did."""

    observation: Tensor
    """`(T, B, O)` float32."""
    previous_action: Tensor
    """`(T, B, A)` float32 or `(T, B)` int64."""
    previous_reward: Tensor
    """`(T, B)` float32."""
    episode_start: Tensor
    """`(T, B)` bool: True where step t is the first of an episode."""
    trial_start: Tensor
    """`(T, B)` bool: True where step t is the first of a trial."""
    clock: Tensor
    """`(T, B, 2)` float32: shares of the episode and of the trial that have passed."""
    action: Tensor
    """`(T, B, A)` float32 as sampled, before clipping, or `(T, B)` int64."""
    log_prob: Tensor
    """`(T, B)`: log probability of `action` when it was taken."""
    value: Tensor
    """`(T, B)`: value of step t when it was met."""
    next_value: Tensor
    """`(T, B)`: value of the true successor of step t (see `returns.gae`)."""
    reward: Tensor
    """`(T, B)` float32: what the action at t earned, unscaled."""
    trial_end: Tensor
    """`(T, B)` bool: True where the action at t ended its trial."""
    first_state: State
    """The memory before step 0."""
    practise: Tensor | None = None
    """`(T, B)` bool: True where the agent may learn from the step; None: from all."""


@dataclass
class Actor:
    """An agent in its worlds: everything that goes on from one rollout to the next."""

    agent: Agent
    env: TrialEnv
    time_step: TimeStep
    state: State
    key_B: Tensor
    """Action-noise key of each world."""
    step_count: int = 0
    """Steps taken in each world."""
    open_ended: bool = False
    """What a trial's end means: False, the known horizon (nothing follows, value 0); True, an
    arbitrary cut (the value of the final observation, unless the episode had terminated)."""

    @classmethod
    def start(cls, agent: Agent, env: TrialEnv, seed: int, *, open_ended: bool = False) -> Self:
        """Begin new trials with blank memories."""
        time_step = env.reset(seed)
        state = agent.memory.initial_state(env.num_worlds)
        key_B = rng.world_keys(seed, rng.Stream.ACTION, env.num_worlds, env.device)
        return cls(agent, env, time_step, state, key_B, open_ended=open_ended)

    @torch.no_grad()
    def collect(self, num_steps: int) -> Rollout:
        """Act for `num_steps` steps with sampled actions; physics must have had room for them.

        Raises:
            RuntimeError: if physics dropped contacts for want of room (not on the CPU).
        """
        first_state = self._state_copy()
        rows = self._play(num_steps)
        self.step_count += num_steps
        self.env.family.check_capacity()
        return self._assemble(rows, first_state)

    def _play(self, num_steps: int) -> Rows:
        """Act, and bring each step's rows together, `(T, B, …)`."""
        steps = self.step_count + torch.arange(num_steps, device=self.env.device)
        noise_TBA = self.agent.noise(rng.fold_in(self.key_B, steps.unsqueeze(1)))
        records = [self.act(noise_BA) for noise_BA in noise_TBA]
        return {name: torch.stack([record[name] for record in records]) for name in records[0]}

    def act(self, noise_BA: Tensor) -> Rows:
        """One step in every world: what was seen, done and brought, by `Rollout`'s names."""
        before = self.time_step
        output, self.state = self.agent.step(before, self.state)
        action = output.policy.sample(noise_BA)
        after = self.time_step = self.env.step(action)
        return {name: getattr(before, name) for name in SEEN} | {
            "action": action,
            "log_prob": output.policy.log_prob(action),
            "value": output.value,
            "end_value": self._end_value(action),
            "reward": after.reward,
            "trial_end": after.trial_end,
        }

    def _assemble(self, rows: Rows, first_state: State) -> Rollout:
        end_value_TB, trial_end_TB = rows.pop("end_value"), rows["trial_end"]
        next_value_B = self._next_value(trial_end_TB[-1])
        follow_TB = torch.cat([rows["value"][1:], next_value_B.unsqueeze(0)])
        next_value_TB = torch.where(trial_end_TB, end_value_TB, follow_TB)
        return Rollout(**rows, next_value=next_value_TB, first_state=first_state)

    def _state_copy(self) -> State:
        """The present memory, safe from a step that writes into what it is given."""
        return tuple(rows.clone() for rows in self.state)

    def _next_value(self, trial_end_B: Tensor) -> Tensor:
        """Values of the step after the rollout; not needed where every trial has just ended."""
        if self.env.peeks and trial_end_B.all():
            return torch.zeros_like(trial_end_B, dtype=torch.float32)
        output, _ = self.agent.step(self.time_step, self._state_copy())
        return output.value

    def _end_value(self, action: Tensor) -> Tensor:
        """Value of the true final observation where an open-ended trial was cut, else 0."""
        after = self.time_step
        cut_B = after.trial_end & after.truncated
        if not self.open_ended or (self.env.peeks and not cut_B.any()):
            return torch.zeros_like(after.reward)
        nowhere = torch.zeros_like(cut_B)
        final = replace(
            after,
            observation=after.final_observation,
            previous_action=self.env.applied(action),
            previous_reward=after.reward,
            episode_start=nowhere,
            trial_start=nowhere,
            clock=torch.ones_like(after.clock),
        )
        output, _ = self.agent.step(final, self._state_copy())
        return torch.where(cut_B, output.value, 0.0)
