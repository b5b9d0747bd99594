"""Measuring a family's anchors: zero, random, best non-adaptive, task oracle.

The non-adaptive anchor is the best of zero, random and the oracle told one and the same task
everywhere (the belief chosen on `train` tasks, the score taken on `test` tasks).
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from quickstudy.agents.registry import agent_config
from quickstudy.envs.anchors import Anchor, Anchors
from quickstudy.envs.play import Policy
from quickstudy.envs.registry import family_class, family_entry
from quickstudy.experiments.checkpoint import Checkpoints
from quickstudy.experiments.evaluate import evaluate
from quickstudy.experiments.policies import (
    AgentPolicy,
    ExpertPolicy,
    RandomPolicy,
    ZeroPolicy,
)
from quickstudy.experiments.run_folder import RunFolder, package_versions
from quickstudy.experiments.statistics import mean_interval
from quickstudy.experiments.training import load_agent

NUM_BELIEFS = 16
"""Fixed beliefs tried for the non-adaptive anchor."""
BELIEF_TASKS = 256
"""Train tasks on which they are compared."""
PHYSICS_PACKAGES = ("quickstudy", "mujoco", "torch")

MakeOracle = Callable[[Tensor | None], Policy]
"""An oracle policy for a belief (None: it is told the truth)."""


@dataclass(frozen=True)
class Trial:
    """What every anchor of a family is measured on: single episodes."""

    family: str
    episode_length: int
    split: str
    num_tasks: int
    seed: int
    reveal_task: bool

    def returns(self, policy: Policy) -> Tensor:
        """Return of one episode on each task, `(num_tasks,)`."""
        space = family_class(self.family).task_space
        returns_N1 = evaluate(
            policy,
            self.family,
            space.listing(self.split, self.num_tasks, self.seed),
            episode_length=self.episode_length,
            episodes_per_trial=1,
            reveal_task=self.reveal_task,
            seed=self.seed,
        )
        return torch.from_numpy(returns_N1[:, 0])

    def anchor(self, policy: Policy, name: str) -> Anchor:
        interval = mean_interval(self.returns(policy).numpy())
        return Anchor(interval.point, interval.low, interval.high, name)


def measure_anchors(
    family: str,
    *,
    episode_length: int | None = None,
    oracle_run: Path | None = None,
    num_tasks: int = 1000,
    seed: int = 0,
) -> Anchors:
    """Measure all anchors that can be measured.

    Args:
        family: a registered name.
        episode_length: steps; the family's default if None.
        oracle_run: a run of `--agent oracle` on the family; families with a scripted expert need
            none, others have neither oracle nor non-adaptive anchor without it.
        num_tasks: test tasks, one episode each.
        seed: of tasks, noise and random actions.

    Raises:
        ValueError: for an unknown family, or a run of another family or agent.
    """
    length = episode_length or family_entry(family).episode_length
    test = Trial(family, length, "test", num_tasks, seed, reveal_task=False)
    zero, random = ZeroPolicy(), RandomPolicy(seed)
    oracle = _trained_oracle(family, oracle_run) if oracle_run else _scripted_oracle(family)
    versions = {name: str(package_versions()[name]) for name in PHYSICS_PACKAGES}
    return Anchors(
        family,
        length,
        test.anchor(zero, "zero action"),
        test.anchor(random, "uniformly random actions"),
        _non_adaptive(test, oracle) if oracle else None,
        _revealed(test).anchor(oracle.make(None), oracle.name) if oracle else None,
        test.split,
        num_tasks,
        seed,
        versions,
        "quickstudy " + " ".join(sys.argv[1:]),
    )


@dataclass(frozen=True)
class _Oracle:
    name: str
    make: MakeOracle


def _scripted_oracle(family: str) -> _Oracle | None:
    probe = family_class(family)(1)
    if probe.expert_action(probe.task_ND) is None:
        return None
    return _Oracle("scripted expert", ExpertPolicy)


def _trained_oracle(family: str, run_dir: Path) -> _Oracle:
    state, _ = Checkpoints(RunFolder(run_dir).checkpoints).load_latest()
    agent, config = load_agent(state)
    if config.family != family or not agent_config(config.agent).sees_task:
        raise ValueError(
            f"{run_dir} is a run of {config.agent} on {config.family}; the oracle of {family} "
            f"needs one of: quickstudy train {family} --agent oracle."
        )
    name = f"trained oracle (PPO, {config.frames} frames, seed {config.seed})"
    return _Oracle(name, lambda belief: AgentPolicy(agent, belief_D=belief))


def _non_adaptive(test: Trial, oracle: _Oracle) -> Anchor:
    train = Trial(test.family, test.episode_length, "train", BELIEF_TASKS, test.seed, True)
    candidates: dict[str, Policy] = {
        "zero action": ZeroPolicy(),
        "uniformly random actions": RandomPolicy(test.seed),
    }
    for belief_D in _beliefs(test.family):
        told = ", ".join(f"{value:.3g}" for value in belief_D.tolist())
        candidates[f"{oracle.name} told {told} everywhere"] = oracle.make(belief_D)
    scores = {name: float(train.returns(policy).mean()) for name, policy in candidates.items()}
    best = max(scores, key=scores.__getitem__)
    return _revealed(test).anchor(candidates[best], best)


def _beliefs(family: str) -> Tensor:
    """The middle of the task space and a spread of its train tasks, `(n, D)`."""
    space = family_class(family).task_space
    middle_D = torch.tensor([(p.low + p.high) / 2 for p in space.parameters], dtype=torch.float64)
    beliefs: Tensor = torch.unique(
        torch.cat([middle_D.unsqueeze(0), space.listing("train", NUM_BELIEFS, seed=1)]), dim=0
    )
    return beliefs


def _revealed(test: Trial) -> Trial:
    return Trial(
        test.family, test.episode_length, test.split, test.num_tasks, test.seed, reveal_task=True
    )
