"""AGAIN: ALP-GMM that begins where a past student like this one made progress.

Portelas, Romac, Hofmann & Oudeyer 2020 ("Meta Automatic Curriculum Learning", arXiv 2011.08463);
constants as in the authors' code (`flowersteam/meta-acl`, `again.py`, `toy_run.py`). It needs a
classroom and a driver that tests the student (`classrooms/school.py`), so it is no registered
teacher.

Shape legend: n levels, d dimensions, P test points, G Gaussians.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from quickstudy.curricula.checks import require_above, require_share
from quickstudy.curricula.classrooms.classroom import Classroom
from quickstudy.curricula.classrooms.guide import Guide, Variant
from quickstudy.curricula.classrooms.niches import has_niches, niches
from quickstudy.curricula.drawing import pick
from quickstudy.curricula.levels import Levels
from quickstudy.curricula.mixtures.em import draw
from quickstudy.curricula.teacher import Mixture, Teacher, Told
from quickstudy.curricula.teachers.alp_gmm import ALPGMMConfig, ALPGMMTeacher
from quickstudy.envs import rng
from quickstudy.envs.errors import require_positive, unknown

Selection = Literal["kc", "random", "ground-truth", "best"]

_BRANCH = -2
"""The branch of the teacher's key that AGAIN itself draws from; ALP-GMM has the others."""
_PENDING = 2**16
"""Proposals that are remembered until they are played; older ones count as dropped."""


class Phase(Enum):
    """What AGAIN is doing."""

    PRETEST = "pretest"
    """Teaching as ALP-GMM, to get to know the student, until a test tells what it knows."""
    TEACH = "teach"
    """Following a past student's curriculum beside ALP-GMM."""
    AFTER = "after"
    """At its end: the last niches are measured anew until they die out."""


@dataclass(frozen=True)
class AGAINConfig:
    """The paper's constants for the toy grid."""

    told: ClassVar[Told] = "return"
    classroom: str = ""
    """The classroom's folder."""
    variant: Variant = "R"
    """When the next mixture of the past student comes: R, once scores are as good as its own were;
    T, by the number of episodes; P, not at all, as all are pooled."""
    pretest: int = 20_000
    """Steps of the student (a toy's step is an episode) in the pre-test; the first test at or after
    them ends it."""
    selection: Selection = "kc"
    """Which past student: kc, the best of those that knew the most similar things; random;
    ground-truth, the best of those with the most similar configuration; best, of all."""
    neighbours: int = 5
    """How many similar students the best is chosen from."""
    classroom_size: int = 0
    """Use so many students of the classroom, drawn at random; 0: all."""
    mixed: bool = True
    """Draw from ALP-GMM's Gaussians too; if not, only from the past student's."""
    random_share: float = 0.02
    """Share of uniform levels after the pre-test."""
    pretest_random_share: float = 0.1
    """Share of uniform levels within it."""
    num_scores: int = 10
    """R: the mean of so many scores decides."""
    tolerance: float = 1.0
    """R: what part of the past student's score is enough."""
    period: int = 250
    """T: episodes per mixture."""
    youth: int = 0
    """Follow the past student's first so many episodes alone; 0: all."""

    def build(self, dim: int, seed: int) -> "AGAINTeacher":
        """Raises `ValueError` for constants that make no sense."""
        _require_known(self)
        for name in ("neighbours", "num_scores", "period"):
            require_positive(name, getattr(self, name))
        for name in ("pretest", "classroom_size", "youth"):
            require_above(name, getattr(self, name), -1)
        require_share("random_share", self.random_share)
        require_above("tolerance", self.tolerance, 0)
        if self.selection == "kc" and self.pretest == 0:
            raise ValueError("Without a pre-test nothing is known of the student: selection kc.")
        return AGAINTeacher(self, dim, seed)


class AGAINTeacher(Teacher):
    """Pre-test, choose a past student, follow its curriculum, fade out.

    Scores must be in [0, 1]. Whoever trains the student also calls `examine` before the first
    lesson and after each epoch.
    """

    def __init__(self, config: AGAINConfig, dim: int, seed: int) -> None:
        super().__init__(dim, seed)
        self._key = rng.fold_in(self._key, _BRANCH)
        self._config = config
        live = ALPGMMConfig(random_share=config.pretest_random_share, score_range=(0.0, 1.0))
        self._live = _Live(live, dim, seed)
        self._num_tests = 0
        self._chosen: str | None = None
        self._guide: Guide | None = None
        self._origins: dict[int, tuple[int, int]] = {}

    @property
    def phase(self) -> Phase:
        if self._guide is None:
            return Phase.PRETEST
        return Phase.AFTER if self._guide.at_end else Phase.TEACH

    @property
    def chosen(self) -> str | None:
        """The past student that is followed; None before there is one."""
        return self._chosen

    @property
    def live(self) -> ALPGMMTeacher:
        """The ALP-GMM that learns about this student all the time."""
        return self._live

    def examine(self, test_P: Tensor, student: Mapping[str, Any], steps: int) -> None:
        """Take the student's results on the test points, `(P,)`.

        Args:
            test_P: what the classroom's students have in the row of the same number.
            student: its hidden configuration, which selection ground-truth alone may look at.
            steps: what it has trained for until now.

        Raises:
            ValueError: for a classroom that cannot be used.
        """
        if self._guide is None and steps >= self._config.pretest:
            self._chosen = self._select(test_P, student)
            self._follow()
        self._num_tests += 1

    def propose(self, n: int) -> Levels:
        present = self.mixture()
        if self._guide is None or present is None:
            return self._live.propose(n)
        choice_n2 = self._uniform(n, 2)
        chosen_n = pick(present.weight_G, choice_n2[:, 0])
        anywhere_n = choice_n2[:, 1] < self._config.random_share
        drawn_nd = draw(present, choice_n2[:, 0], self._normal(n, self.dim))
        points_nd = torch.where(anywhere_n.unsqueeze(1), self._uniform(n, self.dim), drawn_nd)
        levels = self._levels(points_nd)
        self._remember(levels.seeds, torch.where(anywhere_n, len(present.weight_G), chosen_n))
        return levels

    def observe(self, levels: Levels, score_n: Tensor) -> dict[str, float]:
        figures = self._live.observe(levels, score_n)
        if self._guide is not None:
            before = self._live.num_observed - len(levels)
            told = zip(levels.seeds.tolist(), score_n.tolist(), self._live.progress(), strict=True)
            for episode, (seed, score, progress) in enumerate(told, start=before + 1):
                self._tell(self._guide, self._origins.pop(seed, None), score, progress)
                self._guide.clock(episode)
        step = -1 if self._guide is None else self._guide.index
        return figures | {"phase": float(list(Phase).index(self.phase)), "step": float(step)}

    def mixture(self) -> Mixture | None:
        """The past student's present Gaussians, followed by those of ALP-GMM."""
        live = self._live.mixture()
        if self._guide is None:
            return live
        if live is None or not self._config.mixed:
            return self._guide.mixture
        return _union(self._guide.mixture, live)

    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            "live": self._live.state_dict(),
            "num_tests": self._num_tests,
            "chosen": self._chosen,
            "guide": None if self._guide is None else self._guide.state_dict(),
            "origins": [[seed, *origin] for seed, origin in self._origins.items()],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The classroom must hold the student that was followed."""
        super().load_state_dict(state)
        self._live.load_state_dict(state["live"])
        self._num_tests, self._chosen = state["num_tests"], state["chosen"]
        self._origins = {seed: (step, gaussian) for seed, step, gaussian in state["origins"]}
        if state["guide"] is not None:
            self._follow().load_state_dict(state["guide"])

    def _select(self, test_P: Tensor, student: Mapping[str, Any]) -> str:
        """A past student's name; the others are the ones to compare it with."""
        room = Classroom(Path(self._config.classroom))
        end = self._config.youth or math.inf
        heard = {name: [f for f in room.fits(name) if f.episode < end] for name in room.names}
        names = self._some([name for name, fits in heard.items() if has_niches(fits)])
        if self._config.selection == "random":
            return names[int(self._uniform(1, 1) * len(names))]
        if self._config.selection == "kc":
            names = room.nearest(test_P, self._num_tests, self._config.neighbours, names)
        elif self._config.selection == "ground-truth":
            names = room.alike(student, self._config.neighbours, names)
        if not names:
            raise ValueError(f"No student of {room.folder} is like {student}, and made progress.")
        return max(names, key=lambda name: float(room.tests(name)[-1].sum()))

    def _some(self, names: list[str]) -> list[str]:
        """As many as the classroom may have, in their old order."""
        size = self._config.classroom_size or len(names)
        if not names or size > len(names):
            raise ValueError(
                f"{self._config.classroom} has {len(names)} students with niches to follow, "
                f"{max(size, 1)} are asked for."
            )
        order = torch.argsort(self._uniform(len(names), 1)[:, 0])
        return [names[i] for i in sorted(order[:size].tolist())]

    def _follow(self) -> Guide:
        assert self._chosen is not None
        record = Classroom(Path(self._config.classroom)).student(self._chosen)
        config = self._config
        followed = record.history.before(config.youth) if config.youth else record.history
        self._guide = Guide(
            niches(followed, record.teacher["random_share"]),
            config.variant,
            num_scores=config.num_scores,
            tolerance=config.tolerance,
            period=config.period,
            fades=config.mixed,
        )
        self._guide.clock(self._live.num_observed)
        return self._guide

    def _remember(self, seed_n: Tensor, chosen_n: Tensor) -> None:
        """Where the levels came from that are the guide's."""
        assert self._guide is not None
        count = len(self._guide.mixture.weight_G)
        for seed, gaussian in zip(seed_n.tolist(), chosen_n.tolist(), strict=True):
            if gaussian < count:
                self._origins[seed] = (self._guide.index, gaussian)
        for seed in list(self._origins)[:-_PENDING]:
            del self._origins[seed]

    def _tell(
        self, guide: Guide, origin: tuple[int, int] | None, score: float, progress: float
    ) -> None:
        """Tell the guide of its own episodes; those of a mixture it has left are not."""
        if origin is not None and origin[0] == guide.index:
            guide.tell(origin[1], score, progress)


class _Live(ALPGMMTeacher):
    """ALP-GMM that also says what progress it saw in the levels it last observed."""

    def __init__(self, config: ALPGMMConfig, dim: int, seed: int) -> None:
        super().__init__(config, dim, seed)
        self._change: list[Tensor] = []

    def observe(self, levels: Levels, score_n: Tensor) -> dict[str, float]:
        self._change.clear()
        return super().observe(levels, score_n)

    def progress(self) -> list[float]:
        """In [0, 1], one per level last observed."""
        change_n: list[float] = self._range.share(torch.cat(self._change)).tolist()
        return change_n

    def _rows(self, points_nd: Tensor, score_n: Tensor) -> Tensor:
        rows_nR = super()._rows(points_nd, score_n)
        self._change.append(rows_nR[:, -1].clone())
        return rows_nR


def _union(first: Mixture, second: Mixture) -> Mixture:
    return Mixture(
        torch.cat([first.weight_G, second.weight_G]),
        torch.cat([first.mean_Gd, second.mean_Gd]),
        torch.cat([first.covariance_Gdd, second.covariance_Gdd]),
    )


def _require_known(config: AGAINConfig) -> None:
    """Raise `ValueError` for an unknown variant or selection."""
    if config.variant not in get_args(Variant):
        raise unknown("variant", config.variant, get_args(Variant))
    if config.selection not in get_args(Selection):
        raise unknown("selection", config.selection, get_args(Selection))
