"""Collecting experience: T steps in B worlds, with what the agent saw, did and expected.

Shape legend: T time, B worlds, O observation features, A action dimensions.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from quickstudy.agents.agent import Agent
from quickstudy.agents.sequence_model import State
from quickstudy.envs import rng
from quickstudy.envs.trials import TimeStep, TrialEnv


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
    def start(cls, agent: Agent, env: TrialEnv, seed: int, *, open_ended: bool = False) -> "Actor":
        """Begin new trials with blank memories."""
        time_step = env.reset(seed)
        state = agent.memory.initial_state(env.num_worlds)
        key_B = rng.world_keys(seed, rng.Stream.ACTION, env.num_worlds, env.device)
        return cls(agent, env, time_step, state, key_B, open_ended=open_ended)

    @torch.no_grad()
    def collect(self, num_steps: int) -> Rollout:
        """Act for `num_steps` steps with sampled actions."""
        steps = self.step_count + torch.arange(num_steps, device=self.env.device)
        noise_TBA = self.agent.noise(rng.fold_in(self.key_B, steps.unsqueeze(1)))
        first_state = self._state_copy()
        records = [self._act(noise_BA) for noise_BA in noise_TBA]
        self.step_count += num_steps
        return self._assemble(records, first_state)

    def _act(self, noise_BA: Tensor) -> "_Record":
        before = self.time_step
        output, self.state = self.agent.step(before, self.state)
        action = output.policy.sample(noise_BA)
        log_prob_B = output.policy.log_prob(action)
        self.time_step = self.env.step(action)
        end_value_B = self._end_value(action) if self.open_ended else torch.zeros_like(log_prob_B)
        return _Record(before, action, log_prob_B, output.value, self.time_step, end_value_B)

    def _assemble(self, records: "list[_Record]", first_state: State) -> Rollout:
        seen = [r.time_step for r in records]
        trial_end_TB = torch.stack([r.next_time_step.trial_end for r in records])
        value_TB = torch.stack([r.value for r in records])
        end_value_TB = torch.stack([r.end_value for r in records])
        follow_TB = torch.cat([value_TB[1:], self._next_value(trial_end_TB[-1]).unsqueeze(0)])
        return Rollout(
            observation=torch.stack([s.observation for s in seen]),
            previous_action=torch.stack([s.previous_action for s in seen]),
            previous_reward=torch.stack([s.previous_reward for s in seen]),
            episode_start=torch.stack([s.episode_start for s in seen]),
            trial_start=torch.stack([s.trial_start for s in seen]),
            clock=torch.stack([s.clock for s in seen]),
            action=torch.stack([r.action for r in records]),
            log_prob=torch.stack([r.log_prob for r in records]),
            value=value_TB,
            next_value=torch.where(trial_end_TB, end_value_TB, follow_TB),
            reward=torch.stack([r.next_time_step.reward for r in records]),
            trial_end=trial_end_TB,
            first_state=first_state,
        )

    def _state_copy(self) -> State:
        """The present memory, safe from a step that writes into what it is given."""
        return tuple(rows.clone() for rows in self.state)

    def _next_value(self, trial_end_B: Tensor) -> Tensor:
        """Values of the step after the rollout; not needed where every trial has just ended."""
        if trial_end_B.all():
            return torch.zeros_like(trial_end_B, dtype=torch.float32)
        output, _ = self.agent.step(self.time_step, self._state_copy())
        return output.value

    def _end_value(self, action: Tensor) -> Tensor:
        """Value of the true final observation where a trial was cut, else 0."""
        after = self.time_step
        cut_B = after.trial_end & after.truncated
        if not cut_B.any():
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


@dataclass(frozen=True)
class _Record:
    """One step on its way into a rollout."""

    time_step: TimeStep
    action: Tensor
    log_prob: Tensor
    value: Tensor
    next_time_step: TimeStep
    end_value: Tensor
