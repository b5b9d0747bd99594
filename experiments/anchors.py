"""Measuring a family's anchors: zero, random, best non-adaptive, task oracle.

The non-adaptive anchor is the best of what acts without memory and without knowing the task: zero,
random, a `markov` agent trained on the family, and the oracle told one and the same task everywhere
(the best is chosen on `train` tasks, its score taken on `test` tasks).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from quickstudy.agents.agent import Agent
from quickstudy.envs.anchors import Anchor, Anchors
from quickstudy.envs.play import Policy
from quickstudy.envs.registry import family_class, family_entry
from quickstudy.envs.trial_setup import TrialSetup
from quickstudy.experiments.evaluate import evaluate
from quickstudy.experiments.evaluate_runs import load_run
from quickstudy.experiments.policies import (
    AgentPolicy,
    ExpertPolicy,
    RandomPolicy,
    ZeroPolicy,
)
from quickstudy.experiments.run_folder import RunFolder, command_line, package_versions
from quickstudy.experiments.statistics import mean_interval

NUM_BELIEFS = 16
"""Fixed beliefs tried for the non-adaptive anchor."""
MOST_TOLD = 10
"""As many numbers of a belief are named."""
BELIEF_TASKS = 64
"""Train tasks on which they are compared."""
RANDOM = "uniformly random actions"
WEAK = 0.05
"""A policy that was still rising by more than this share of its climb is called weak."""
PHYSICS_PACKAGES = ("quickstudy", "mujoco", "torch")

MakeOracle = Callable[[Tensor | None], Policy]
"""An oracle policy for a belief (None: it is told the truth)."""


@dataclass(frozen=True)
class Trial:
    """What every anchor of a family is measured on: single episodes."""

    setup: TrialSetup
    split: str
    num_tasks: int
    seed: int

    def returns(self, policy: Policy) -> Tensor:
        """Return of one episode on each task, `(num_tasks,)`."""
        family = family_class(self.setup.family)
        task_ND = family.task_space.listing(self.split, self.num_tasks, self.seed)
        if family.draws_chance or isinstance(policy, RandomPolicy):
            return self._played(policy, task_ND)
        # Nothing differs between two episodes on a task: one of them will do.
        task_UD, which_N = torch.unique(task_ND, dim=0, return_inverse=True)
        return self._played(policy, task_UD)[which_N]

    def _played(self, policy: Policy, task_ND: Tensor) -> Tensor:
        return evaluate(policy, self.setup, task_ND, self.seed).returns[:, 0]

    def anchor(self, policy: Policy, name: str) -> Anchor:
        interval = mean_interval(self.returns(policy).numpy())
        return Anchor(interval.point, interval.low, interval.high, name)


def measure_anchors(
    family: str,
    *,
    episode_length: int | None = None,
    oracle_run: Path | None = None,
    markov_run: Path | None = None,
    num_tasks: int = 1000,
    seed: int = 0,
    device: str = "cpu",
) -> Anchors:
    """Measure all anchors that can be measured.

    Args:
        family: a registered name.
        episode_length: steps; the family's default if None.
        oracle_run: a run of `--agent oracle` on the family; families with a scripted expert need
            none, others have no oracle anchor without it.
        markov_run: a run of `--agent markov` on the family, a candidate for the non-adaptive
            anchor; without it and without an oracle there is no such anchor.
        num_tasks: test tasks, one episode each.
        seed: of tasks, noise and random actions.
        device: where worlds and agents are.

    Raises:
        ValueError: for an unknown family, or a run of another family or agent.
    """
    length = episode_length or family_entry(family).episode_length
    setup = TrialSetup(family, length, episodes_per_trial=1, device=device)
    test = Trial(setup, "test", num_tasks, seed)
    zero, random = ZeroPolicy(), RandomPolicy(seed)
    oracle = _trained_oracle(family, oracle_run, device) if oracle_run else _scripted_oracle(family)
    markov = _trained(family, markov_run, "markov", device) if markov_run else None
    versions = {name: str(package_versions()[name]) for name in PHYSICS_PACKAGES}
    nothing, anything = test.anchor(zero, "zero action"), test.anchor(random, RANDOM)
    non_adaptive = _non_adaptive(test, oracle, markov) if oracle or markov else None
    informed = _revealed(test).anchor(oracle.make(None), oracle.name) if oracle else None
    if informed and non_adaptive:
        lesser = {"zero action": nothing, RANDOM: anything}
        if hides_something(family):
            lesser["the non-adaptive policy"] = non_adaptive
        informed = judged(informed, lesser)
    return Anchors(
        family,
        length,
        nothing,
        anything,
        non_adaptive,
        informed,
        test.split,
        num_tasks,
        seed,
        versions,
        command_line(),
        [RunFolder(run).command for run in (oracle_run, markov_run) if run],
    )


def _revealed(trial: Trial, reveal_task: bool = True) -> Trial:
    return replace(trial, setup=replace(trial.setup, reveal_task=reveal_task))


@dataclass(frozen=True)
class _Oracle:
    name: str
    make: MakeOracle


def judged(oracle: Anchor, lesser: Mapping[str, Anchor]) -> Anchor:
    """The oracle's anchor; its name says so where it is not clearly above those it should beat."""
    beaten = [name for name, anchor in lesser.items() if oracle.low > anchor.high]
    missed = [name for name in lesser if name not in beaten]
    weak = f"; weak: not clearly above {', '.join(missed)}" if missed else ""
    return replace(oracle, policy=oracle.policy + weak)


def hides_something(family: str) -> bool:
    """Whether tasks of the family differ at all."""
    return any(p.low < p.high for p in family_class(family).task_space.parameters)


def _scripted_oracle(family: str) -> _Oracle | None:
    probe = family_class(family)(1)
    if probe.expert_action(probe.task_ND) is None:
        return None
    return _Oracle("scripted expert", ExpertPolicy)


def _trained_oracle(family: str, run_dir: Path, device: str) -> _Oracle:
    agent, name = _trained(family, run_dir, "oracle", device)
    return _Oracle(name, lambda belief: AgentPolicy(agent, belief_D=belief))


def _trained(family: str, run_dir: Path, name: str, device: str) -> tuple[Agent, str]:
    """The agent of a run, which must be `name`'s on the family, and what to call it."""
    agent, config = load_run(run_dir, device=device)
    if config.family != family or config.agent != name:
        raise ValueError(
            f"{run_dir} is a run of {config.agent} on {config.family}; this anchor of {family} "
            f"needs one of: quickstudy train {family} --agent {name}."
        )
    rows = RunFolder(run_dir).metrics.rows()
    late = late_rise([row["adapt/return_ep1"] for row in rows if "adapt/return_ep1" in row])
    weak = f"; weak: {late:.0%} of its climb in its last fifth" if late > WEAK else ""
    return agent, f"trained {name} (PPO, {config.frames} frames, seed {config.seed}{weak})"


def late_rise(returns: Sequence[float]) -> float:
    """How much of a training curve's climb came in its last fifth.

    Of the means of fifths: (last − last but one) / (last − first); 0 for a curve that ends no
    higher than it began, or is shorter than five points.
    """
    if len(returns) < 5:
        return 0.0
    first, *_, before, last = (float(part.mean()) for part in np.array_split(returns, 5))
    return (last - before) / (last - first) if last > first else 0.0


@dataclass(frozen=True)
class _Candidate:
    policy: Policy
    reveal_task: bool
    """True where the policy expects a task in its observation (which it is told, not the truth)."""


def _non_adaptive(test: Trial, oracle: _Oracle | None, markov: tuple[Agent, str] | None) -> Anchor:
    candidates = {
        "zero action": _Candidate(ZeroPolicy(), False),
        RANDOM: _Candidate(RandomPolicy(test.seed), False),
    }
    if markov is not None:
        candidates[markov[1]] = _Candidate(AgentPolicy(markov[0]), False)
    if oracle is not None:
        for belief_D in _beliefs(test.setup.family):
            told = f"{oracle.name} told {belief_in_words(belief_D.tolist())} everywhere"
            candidates[told] = _Candidate(oracle.make(belief_D), True)
    train = replace(test, split="train", num_tasks=BELIEF_TASKS)
    scores = {
        name: float(_revealed(train, c.reveal_task).returns(c.policy).mean())
        for name, c in candidates.items()
    }
    name = max(scores, key=scores.__getitem__)
    best = candidates[name]
    return _revealed(test, best.reveal_task).anchor(best.policy, name)


def belief_in_words(belief: Sequence[float]) -> str:
    """Its numbers; of many, the first."""
    told = ", ".join(f"{value:.3g}" for value in belief[:MOST_TOLD])
    return told if len(belief) <= MOST_TOLD else f"{told}, … ({len(belief)} numbers)"


def _beliefs(family: str) -> Tensor:
    """The middle of the task space and a spread of its train tasks, `(n, D)`."""
    space = family_class(family).task_space
    middle_D = torch.tensor([(p.low + p.high) / 2 for p in space.parameters], dtype=torch.float64)
    beliefs: Tensor = torch.unique(
        torch.cat([middle_D.unsqueeze(0), space.listing("train", NUM_BELIEFS, seed=1)]), dim=0
    )
    return beliefs
