"""Everything that can act in trials, behind one small interface.

Shape legend: N worlds, D task parameters.
"""

from dataclasses import dataclass, replace

import torch
from gymnasium import spaces
from torch import Tensor

from quickstudy.agents.agent import Agent
from quickstudy.agents.sequence_model import State
from quickstudy.envs import rng
from quickstudy.envs.family import Family
from quickstudy.envs.trials import TimeStep, TrialEnv


class ZeroPolicy:
    """Always the zero action (action 0 of a discrete space)."""

    def begin(self, env: TrialEnv) -> None:
        self._action = torch.zeros_like(env.blank_action)

    def act(self, time_step: TimeStep) -> Tensor:
        return self._action


class RandomPolicy:
    """Uniform over the action space."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def begin(self, env: TrialEnv) -> None:
        self._space = env.family.action_space
        self._key_N = rng.world_keys(self._seed, rng.Stream.ACTION, env.num_worlds, env.device)
        self._step = 0

    def act(self, time_step: TimeStep) -> Tensor:
        key_N = rng.fold_in(self._key_N, self._step)
        self._step += 1
        if isinstance(self._space, spaces.Discrete):
            return (rng.uniform(key_N, 1)[:, 0] * int(self._space.n)).long()
        return (2.0 * rng.uniform(key_N, self._space.shape[0]) - 1.0).to(torch.float32)


@dataclass
class ExpertPolicy:
    """A family's scripted expert: told the true task, or everywhere the same believed one."""

    belief_D: Tensor | None = None
    """The believed task; None: the truth, which makes it the oracle."""

    def begin(self, env: TrialEnv) -> None:
        self._env = env

    def act(self, time_step: TimeStep) -> Tensor:
        family: Family = self._env.family
        belief_ND = self._env.tasks
        if self.belief_D is not None:
            belief_ND = self.belief_D.to(belief_ND.device).expand_as(belief_ND)
        action = family.expert_action(belief_ND)
        if action is None:
            raise ValueError(f"{self._env.name} has no scripted expert.")
        return action


class AgentPolicy:
    """A trained agent with its normalisation frozen."""

    def __init__(
        self,
        agent: Agent,
        *,
        deterministic: bool = True,
        wipe_memory: bool = False,
        belief_D: Tensor | None = None,
        seed: int = 0,
    ) -> None:
        """Wrap an agent.

        Args:
            agent: the agent; it is not changed.
            deterministic: the most likely action, or a sample.
            wipe_memory: make each episode look like a trial's first: memory, last step and clock
                start afresh. What the agent then still achieves owes nothing to earlier episodes.
            belief_D: for an agent that sees its task: the task it is told everywhere.
            seed: of sampled actions.
        """
        self._agent = agent
        self._deterministic = deterministic
        self._wipe_memory = wipe_memory
        self._belief_D = belief_D
        self._seed = seed
        self.memory: Tensor
        """What the heads read from the memory at the last step, `(N, M)`."""

    def begin(self, env: TrialEnv) -> None:
        self._durations = (env.episode_length, env.trial_length)
        self._state: State = self._agent.memory.initial_state(env.num_worlds)
        self._key_N = rng.world_keys(self._seed, rng.Stream.ACTION, env.num_worlds, env.device)
        self._step = 0

    @torch.no_grad()
    def act(self, time_step: TimeStep) -> Tensor:
        output, self._state = self._agent.step(self._percept(time_step), self._state)
        self.memory = output.memory
        noise = self._agent.noise(rng.fold_in(self._key_N, self._step))
        self._step += 1
        return output.policy.mode() if self._deterministic else output.policy.sample(noise)

    def _percept(self, time_step: TimeStep) -> TimeStep:
        if self._wipe_memory:
            episode_length, trial_length = self._durations
            episode_N = time_step.clock[:, 0]
            # By way of whole steps, so that the quotient is rounded as in a first episode.
            step_N = (episode_N * episode_length).round()
            clock_N2 = torch.stack([episode_N, step_N / trial_length], dim=1)
            time_step = replace(time_step, trial_start=time_step.episode_start, clock=clock_N2)
        if self._belief_D is not None:
            size = len(self._belief_D)
            seen = time_step.observation.clone()
            seen[:, -size:] = self._belief_D.to(seen)
            time_step = replace(time_step, observation=seen)
        return time_step
