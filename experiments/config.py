"""What defines a training run, and the checks made before anything is built."""

import importlib.util
import math
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal

import torch
import tyro

from quickstudy.agents.learner import LearnerConfig
from quickstudy.agents.objectives.ppo import PPOConfig
from quickstudy.agents.objectives.registry import make_objective, portable_name
from quickstudy.agents.registry import agent_config
from quickstudy.curricula.curriculum import teaching_dim
from quickstudy.curricula.teacher import Teacher
from quickstudy.curricula.teachers import TEACHERS, make_teacher
from quickstudy.envs.devices import find_device
from quickstudy.envs.errors import require_positive, require_switch, unknown
from quickstudy.envs.registry import DEVICES, family_class, family_entry
from quickstudy.envs.trial_setup import TrialSetup
from quickstudy.experiments.scores import SIGNALS, Signal

GPU_MODULES = ("warp", "mujoco_warp")
"""What `pip install 'quickstudy[gpu]'` brings."""

FRAMES_PER_UPDATE = 51_200
"""Frames of a rollout unless `worlds` says otherwise: 128 trials of 2 × 200 steps."""


@dataclass(frozen=True)
class TrainConfig:
    """One training run. The defaults are the same for every family."""

    family: Annotated[str, tyro.conf.Suppress] = ""
    """The task family."""
    family_options: dict[str, str] = field(default_factory=dict)
    """What the family lets you choose (a body, say), by name: NAME VALUE …"""
    agent: str = "rl2"
    """Which agent: a memory by name (rl2 is the GRU), markov (no history) or oracle (is told the
    task); `quickstudy list` shows them."""
    width: int | None = None
    """Features of the memory; None: the agent's own, chosen for about 75 000 parameters."""
    head: Literal["plain", "hypernetwork"] = "plain"
    """What the memory does to the policy: one input among others, or it generates all weights."""
    head_sees_observation: bool = True
    """Whether the heads read the observation again, beside the memory."""
    frames: int = 2_500_000
    """Environment steps to train for, over all worlds (rounded up to whole rollouts)."""
    worlds: int | None = None
    """Worlds side by side; None: as many whole trials as fit into 51 200 frames, which suits
    throughput. Of a budget of a million frames or less, smaller rollouts make more."""
    seed: int = 0
    """Decides weights, tasks, physics noise, actions and minibatches."""
    device: str = "auto"
    """Where to run: cpu, cuda (MuJoCo Warp), warp-cpu (the same on the CPU, for tests), or auto:
    cuda where there is a GPU and the extra is installed, else cpu."""
    episode_length: int | None = None
    """Steps per episode; None: the family's default."""
    episodes_per_trial: int | None = None
    """Episodes per trial (K); None: the family's default."""
    switch_episode: int | None = None
    """The episode of each trial (2 … K) that starts on another task, untold; None: one task per
    trial."""
    teacher: str = "none"
    """Who chooses the tasks to train on: none (uniform draws from the train split) or a teacher,
    which chooses among the same tasks; `quickstudy list` shows them."""
    teacher_options: dict[str, str] = field(default_factory=dict)
    """The teacher's constants that are not its defaults: NAME VALUE …"""
    signal: Signal | Literal["auto"] = "auto"
    """What a teacher is told about each trial: return (mean over its episodes), last-return, gain
    (last episode minus first: what adapting brought), success (of the last episode), regret
    (positive value loss) or value-loss; auto: what the teacher is made for."""
    open_ended: bool = False
    """What a trial's end means: False, a known horizon (nothing follows, value 0); True, an
    arbitrary cut (bootstrap from the final observation)."""
    objective: str = "ppo"
    """How the agent learns: ppo, a2c, dpo, or a discovered rule, discovered:NAME or
    discovered:PATH; `quickstudy list` shows them."""
    ppo: PPOConfig = field(default_factory=PPOConfig)
    """The objective's constants, whichever it is (a drift of its own has no use for the clip)."""
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    """The optimiser."""
    checkpoint_interval: int = 10
    """Updates between checkpoints."""
    eval_interval: int = 10
    """Updates between evaluations on the test split (shown, never used to choose anything)."""
    eval_tasks: int = 32
    """Tasks of those evaluations."""
    video: bool = True
    """Film the trained agent at the end."""

    @property
    def setup(self) -> TrialSetup:
        """What is played, and where."""
        return TrialSetup(
            self.family,
            self.episode_length,
            self.episodes_per_trial,
            self.switch_episode,
            reveal_task=agent_config(self.agent).sees_task,
            device=self.device,
            family_options=self.family_options,
        )

    @property
    def trial_length(self) -> int:
        """Steps of a whole trial (of a resolved configuration)."""
        assert self.episode_length is not None
        assert self.episodes_per_trial is not None
        return self.episode_length * self.episodes_per_trial

    @property
    def frames_per_update(self) -> int:
        """Frames of one rollout (of a resolved configuration)."""
        assert self.worlds is not None
        return self.worlds * self.trial_length

    @property
    def num_updates(self) -> int:
        """Updates that `frames` takes (of a resolved configuration)."""
        return math.ceil(self.frames / self.frames_per_update)

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "TrainConfig":
        """The inverse of `to_dict`."""
        nested = {"ppo": PPOConfig(**record["ppo"]), "learner": LearnerConfig(**record["learner"])}
        return cls(**(record | nested))


def resolve(config: TrainConfig) -> TrainConfig:
    """Fill in the family's defaults and refuse what cannot be run, before anything is built.

    Raises:
        ValueError: naming the value, the options and the nearest match.
    """
    entry = family_entry(config.family)
    agent_config(config.agent)
    _require_counts(config)
    make_objective(config.objective, config.ppo)
    config = replace(
        config,
        objective=portable_name(config.objective),
        device=resolve_device(config.device, config.family),
        episode_length=_default(config.episode_length, entry.episode_length),
        episodes_per_trial=_default(config.episodes_per_trial, entry.episodes_per_trial),
    )
    assert config.episodes_per_trial is not None
    require_switch(config.switch_episode, config.episodes_per_trial)
    config = replace(config, signal=_chosen_signal(config))
    if config.frames < config.trial_length:
        raise ValueError(
            f"frames {config.frames} is less than one trial: {config.episodes_per_trial} episodes "
            f"of {config.episode_length} steps take {config.trial_length} frames."
        )
    whole_trials = min(FRAMES_PER_UPDATE, config.frames) // config.trial_length
    return replace(config, worlds=_default(config.worlds, max(1, whole_trials)))


def resolve_device(device: str, family: str) -> str:
    """The device that `auto` means here for a family; refuses one that is not there.

    Raises:
        ValueError: for an unknown device, or for cuda where torch sees no GPU.
    """
    options = ("auto", *DEVICES)
    if device not in options:
        raise unknown("device", device, options)
    if device != "auto":
        return find_device(device).name
    return "cuda" if can_use_cuda() and not family_entry(family).cpu_only else "cpu"


def can_use_cuda() -> bool:
    """Whether torch sees a GPU and what steps physics there is installed."""
    return torch.cuda.is_available() and all(map(importlib.util.find_spec, GPU_MODULES))


def _chosen_signal(config: TrainConfig) -> Signal:
    """What the teacher will be told; refuses a teacher that cannot teach here."""
    if config.signal not in ("auto", *SIGNALS):
        raise unknown("signal", config.signal, ("auto", *SIGNALS))
    if config.teacher == "none":
        if config.teacher_options:
            raise ValueError("teacher_options are given, but no teacher.")
        return "return"
    build_teacher(config)
    signal = TEACHERS[config.teacher].told if config.signal == "auto" else config.signal
    if signal == "success" and not family_class(config.family).reports_success:
        raise ValueError(
            f"teacher {config.teacher} with signal success: {config.family} has no notion of it. "
            "Use --signal return, last-return or gain, and give a teacher's thresholds, if it has "
            "any, by --teacher-options."
        )
    return signal


def build_teacher(config: TrainConfig) -> Teacher:
    """The teacher of a configuration that has one.

    Raises:
        ValueError: for an unknown teacher or option.
    """
    dim = teaching_dim(family_class(config.family).task_space)
    return make_teacher(config.teacher, dim, config.seed, config.teacher_options)


def _default(value: int | None, default: int) -> int:
    return default if value is None else value


def _require_counts(config: TrainConfig) -> None:
    for name in ("frames", "checkpoint_interval", "eval_interval", "eval_tasks"):
        require_positive(name, getattr(config, name))
    for name in ("width", "worlds", "episode_length", "episodes_per_trial"):
        if getattr(config, name) is not None:
            require_positive(name, getattr(config, name))
    for name in ("epochs", "minibatch_frames"):
        require_positive(f"learner.{name}", getattr(config.learner, name))
    if isinstance(config.seed, bool) or not isinstance(config.seed, int):
        raise ValueError(f"seed must be an integer, got {config.seed!r}.")
    _require_range("learner.learning_rate", config.learner.learning_rate, 0.0, math.inf)
    _require_range("learner.slow_share", config.learner.slow_share, 0.0, 1.0)
    _require_range("ppo.discount", config.ppo.discount, 0.0, 1.0)
    _require_range("ppo.trace", config.ppo.trace, 0.0, 1.0)
    _require_range("ppo.clip", config.ppo.clip, 0.0, math.inf)


def _require_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} must lie in [{low:g}, {high:g}], got {value!r}.")
