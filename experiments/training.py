"""The state of a training run: what one update is, and what must be kept to go on bit for bit."""

import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from quickstudy.agents.agent import Agent
from quickstudy.agents.captured import CapturedActor
from quickstudy.agents.learner import Learner
from quickstudy.agents.models import ModelConfig
from quickstudy.agents.objectives.lifetime import Lifetime
from quickstudy.agents.objectives.registry import make_objective
from quickstudy.agents.registry import agent_config
from quickstudy.agents.rollout import Actor, Rollout
from quickstudy.curricula.curriculum import Curriculum
from quickstudy.envs.accounts import TrialResults
from quickstudy.envs.devices import find_device
from quickstudy.envs.registry import family_class
from quickstudy.envs.trials import TimeStep, TrialEnv
from quickstudy.experiments.checkpoint import moved
from quickstudy.experiments.config import TrainConfig, build_teacher
from quickstudy.experiments.scores import trial_scores
from quickstudy.experiments.threads import ACTING, available, torch_threads


@dataclass(frozen=True)
class Progress:
    """What one update brought."""

    learning: dict[str, float]
    """The learner's metrics."""
    trials: TrialResults
    """The trials that finished during the rollout."""
    curriculum: dict[str, float]
    """The teacher's figures; empty without one."""
    scores: Tensor | None
    """What the teacher was told of these trials, `(n,)`; None without one."""
    rollout_seconds: float
    update_seconds: float
    teacher_seconds: float


class Training:
    """An agent, its worlds and its learner, between two updates."""

    def __init__(self, config: TrainConfig) -> None:
        """Build everything from a resolved configuration."""
        assert config.worlds is not None
        self.config = config
        self.curriculum = build_curriculum(config)
        source = None if self.curriculum is None else self.curriculum.source
        env = config.setup.env(config.worlds, source)
        self.agent = build_agent(config, env).place(env.family.placement)
        kind = CapturedActor if env.device.type == "cuda" else Actor
        self.actor = kind.start(self.agent, env, config.seed, open_ended=config.open_ended)
        self.learner = Learner(
            self.agent,
            make_objective(config.objective, config.ppo).to(env.device),
            config.learner,
            num_worlds=config.worlds,
            discount=config.ppo.discount,
            seed=config.seed,
        )
        self.num_updates = 0
        self.best_return = -float("inf")
        """The highest mean episode return of an update's training trials, for `best`."""

    @property
    def frames(self) -> int:
        """Environment steps so far, over all worlds."""
        return self.num_updates * self.config.frames_per_update

    @property
    def finished(self) -> bool:
        return self.num_updates >= self.config.num_updates

    def update(self) -> Progress:
        """One rollout of a trial's length and one learning phase."""
        start = time.perf_counter()
        with torch_threads(ACTING):
            rollout = self.actor.collect(self.config.trial_length)
        if self.curriculum is not None:
            practise = self.curriculum.practise(rollout.trial_end)
            rollout = replace(rollout, practise=practise)
        acted = time.perf_counter()
        self.learner.objective.begin_update(self._lifetime())
        with torch_threads(available()):
            learning = self.learner.update(rollout)
        learned = time.perf_counter()
        trials = self.actor.env.finished()
        scores, figures = self._teach(trials, rollout)
        self.num_updates += 1
        return Progress(
            learning,
            trials,
            figures,
            scores,
            rollout_seconds=acted - start,
            update_seconds=learned - acted,
            teacher_seconds=time.perf_counter() - learned,
        )

    def _lifetime(self) -> Lifetime:
        device = self.actor.env.device
        return Lifetime(
            torch.tensor(self.num_updates, device=device),
            torch.tensor(self.config.num_updates, device=device),
        )

    @torch.no_grad()
    def _teach(
        self, trials: TrialResults, rollout: Rollout
    ) -> tuple[Tensor | None, dict[str, float]]:
        """Tell the teacher, if there is one, how the trials went; it plans the next ones."""
        if self.curriculum is None:
            return None, {}
        with torch_threads(ACTING):
            assert self.config.signal != "auto"  # resolved
            scaled_TB = self.learner.reward_scaler.scale(rollout.reward)
            score_n = trial_scores(self.config.signal, trials, rollout, scaled_TB, self.config.ppo)
            return score_n, self.curriculum.observe(trials.worlds, score_n)

    def state_dict(self) -> dict[str, Any]:
        """Plain types and tensors on the CPU, from which `load_state_dict` goes on bit for bit."""
        step = self.actor.time_step
        state: dict[str, Any] = {
            "agent": self.agent.state_dict(),
            "learner": self.learner.state_dict(),
            "env": self.actor.env.state_dict(),
            "time_step": {name: getattr(step, name) for name in step.__dataclass_fields__},
            "memory": list(self.actor.state),
            "step_count": self.actor.step_count,
            "num_updates": self.num_updates,
            "best_return": self.best_return,
            "config": self.config.to_dict(),
        }
        if self.curriculum is not None:
            state["curriculum"] = self.curriculum.state_dict()
        on_cpu: dict[str, Any] = moved(state, "cpu")
        return on_cpu

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken; on another device not bit for bit."""
        if self.curriculum is not None:
            self.curriculum.load_state_dict(state["curriculum"])
        state = moved(state, self.actor.env.device)
        self.agent.load_state_dict(state["agent"])
        self.learner.load_state_dict(state["learner"])
        self.actor.env.load_state_dict(state["env"])
        self.actor.time_step = TimeStep(**state["time_step"])
        self.actor.state = tuple(state["memory"])
        self.actor.step_count = state["step_count"]
        self.num_updates = state["num_updates"]
        self.best_return = state["best_return"]


def build_curriculum(config: TrainConfig) -> Curriculum | None:
    """The curriculum of a resolved configuration, if it has a teacher."""
    if config.teacher == "none":
        return None
    assert config.worlds is not None
    return Curriculum(
        build_teacher(config),
        family_class(config.family).task_space,
        config.worlds,
        device=find_device(config.device).torch_device,
    )


def build_agent(config: TrainConfig, env: TrialEnv) -> Agent:
    """The agent of a configuration, with its initial weights."""
    parts = replace(
        agent_config(config.agent),
        head=config.head,
        head_sees_observation=config.head_sees_observation,
        # Where the trial's end is arbitrary, a clock that runs towards it would give it away.
        sees_clock=not config.open_ended,
    )
    if config.width is not None:
        parts = replace(parts, memory=_with_width(parts.memory, config.width))
    return Agent(
        parts,
        env.observation_size,
        env.family.action_space,
        config.seed,
        horizon=config.trial_length,
    )


def _with_width(memory: ModelConfig, width: int) -> ModelConfig:
    sizes: dict[str, Any] = {"hidden_size": width}  # which every memory has (a contract test)
    return replace(memory, **sizes)


def load_agent(state: dict[str, Any], device: str = "cpu") -> tuple[Agent, TrainConfig]:
    """The agent in a checkpoint's state, on a device, and the configuration it was trained with."""
    config = TrainConfig.from_dict(state["config"])
    agent = build_agent(config, replace(config.setup, device="cpu").env(1))
    agent.load_state_dict(state["agent"])
    return agent.requires_grad_(False).place(find_device(device)), config


def returns_by_episode(trials: TrialResults) -> Tensor:
    """Mean return of episodes 1 … K, `(K,)`; NaN where no trial has finished."""
    return torch.nanmean(trials.returns, dim=0)


def success_by_episode(trials: TrialResults) -> Tensor | None:
    """Share of trials that were solved in episodes 1 … K, `(K,)`; None without such a notion."""
    return None if trials.successes is None else trials.successes.double().mean(dim=0)
