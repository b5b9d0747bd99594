"""Properties of every registered teacher: add a line to `TEACHERS` and it is tested here.

Shape legend: n levels, d dimensions, G Gaussians.
"""

import ast
import functools
import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from quickstudy.curricula import teachers
from quickstudy.curricula.levels import Levels
from quickstudy.curricula.teachers import TEACHERS, make_teacher
from quickstudy.envs.level_tasks import SEEDS

DIMS = (1, 2, 10)
ROUNDS, ROUND = 4, 150
"""Enough that every teacher is past its start."""
SUCCESSES_ONLY = {"learnability"}
"""Teachers that take scores from 0 to 1 alone."""
NOT_REGISTERED = {"again.py"}
"""Needs more than a space and a seed: a classroom, and tests of the student."""


@pytest.fixture(autouse=True)
def one_thread():
    """Small matrices are faster so."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=list(TEACHERS))
def name(request) -> str:
    return request.param


def score(levels: Levels, moment: int = 0) -> torch.Tensor:
    """A success from 0 to 1 that depends on point, seed and time."""
    wave_n = torch.sin(9.0 * levels.points.sum(1) + 0.7 * moment)
    return (0.5 + 0.4 * wave_n + 0.1 * levels.seeds / SEEDS).clamp(0.0, 1.0)


def teach(teacher, rounds=ROUNDS, n=ROUND, score=score):
    """Everything proposed, after each proposal was played."""
    proposals = []
    for moment in range(rounds):
        levels = teacher.propose(n)
        teacher.observe(levels, score(levels, moment))
        proposals.append(levels)
    return proposals


def are_same(first, second) -> bool:
    """Nested states, compared in full."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(are_same(first[k], second[k]) for k in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(are_same, first, second))
    return torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second


@functools.cache
def first_lesson(name: str, dim: int):
    """What a teacher proposed, its state after that; what it proposed then, its state at the end.

    All tests share it, so none may change it.
    """
    teacher = make_teacher(name, dim, seed=5)
    return teach(teacher), teacher.state_dict(), teach(teacher, rounds=2), teacher.state_dict()


def taught(name: str, dim: int):
    """A teacher past its start."""
    teacher = make_teacher(name, dim, seed=5)
    teacher.load_state_dict(first_lesson(name, dim)[1])
    return teacher


def assert_sound(levels: Levels, n: int, dim: int) -> None:
    assert levels.points.shape == (n, dim)
    assert levels.points.dtype == torch.float64
    assert levels.points.min() >= 0
    assert levels.points.max() <= 1
    assert (levels.seeds.shape, levels.seeds.dtype) == ((n,), torch.int64)
    assert levels.seeds.min() >= 0
    assert levels.seeds.max() < SEEDS
    assert (levels.practise.shape, levels.practise.dtype) == ((n,), torch.bool)


def assert_finite(figures: dict[str, float]) -> None:
    assert all(type(value) is float and math.isfinite(value) for value in figures.values()), figures


def are_equal(first: Levels, second: Levels) -> bool:
    parts = ("points", "seeds", "practise")
    return all(torch.equal(getattr(first, part), getattr(second, part)) for part in parts)


@pytest.mark.parametrize("dim", DIMS)
def test_proposals_are_levels_of_the_cube_at_any_time(name, dim):
    for teacher in (make_teacher(name, dim, seed=3), taught(name, dim)):
        for n in (1, 300):
            assert_sound(teacher.propose(n), n, dim)


@pytest.mark.parametrize("dim", DIMS)
def test_proposals_are_a_function_of_the_seed(name, dim):
    """And of no global generator, which they leave alone."""
    first = first_lesson(name, dim)[0]
    torch.manual_seed(dim)
    np.random.seed(dim)  # noqa: NPY002  it is the global one that must not matter
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    again = teach(make_teacher(name, dim, seed=5))
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert all(are_equal(*pair) for pair in zip(first, again, strict=True))
    other = make_teacher(name, dim, seed=6).propose(ROUND)
    assert not are_equal(first[0], other)


@pytest.mark.parametrize("dim", DIMS)
def test_a_teacher_saved_amid_its_curriculum_goes_on_bit_for_bit(name, dim):
    _, state, expected, last_state = first_lesson(name, dim)
    file = io.BytesIO()
    torch.save(state, file)  # after the teacher went on: a state must not move with it
    file.seek(0)
    restored = make_teacher(name, dim, seed=5)
    restored.load_state_dict(torch.load(file, weights_only=True))
    assert all(are_equal(*pair) for pair in zip(teach(restored, rounds=2), expected, strict=True))
    assert are_same(restored.state_dict(), last_state)


def test_a_state_does_not_move_with_the_teacher_it_was_loaded_into(name):
    teach(taught(name, 2), rounds=1)
    assert are_equal(taught(name, 2).propose(ROUND), first_lesson(name, 2)[2][0])


def test_a_teacher_that_was_taught_is_not_one_that_was_not(name):
    """So the state that is saved is one that matters."""
    if name == "random":
        pytest.skip("learns nothing")
    state, blank = taught(name, 2).state_dict(), make_teacher(name, 2, seed=5)
    proposed = blank.propose(300)
    blank.load_state_dict(blank.state_dict() | {"num_draws": state["num_draws"]})
    assert not are_equal(taught(name, 2).propose(300), blank.propose(300))
    assert not are_equal(taught(name, 2).propose(300), proposed)


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("constant", [0.0, 0.3, 1.0])
def test_constant_scores_do_no_harm(name, dim, constant):
    teacher = make_teacher(name, dim, seed=2)
    teach(teacher, score=lambda levels, _: torch.full_like(levels.points[:, 0], constant))
    assert_finite(teacher.observe(teacher.propose(3), torch.full((3,), constant).double()))
    assert_sound(teacher.propose(50), 50, dim)


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("scale", [1e-8, -1e-8, 1e8, -1e8])
def test_scores_of_any_scale_do_no_harm(name, dim, scale):
    if name in SUCCESSES_ONLY:
        pytest.skip("its scores are from 0 to 1")
    teacher = make_teacher(name, dim, seed=2)
    teach(teacher, score=lambda levels, moment: scale * (score(levels, moment) - 0.4))
    levels = teacher.propose(50)
    assert_sound(levels, 50, dim)
    assert_finite(teacher.observe(levels, scale * score(levels)))


@pytest.mark.parametrize("dim", DIMS)
def test_few_observations_or_none_are_enough_to_go_on(name, dim):
    teacher = make_teacher(name, dim, seed=4)
    for n in (0, 1, 0, 1, 2, 3, 5):
        assert_finite(teacher.observe(levels := teacher.propose(40).rows(torch.arange(n)),
                                      score(levels)))  # fmt: skip
        assert_sound(teacher.propose(20), 20, dim)


@pytest.mark.parametrize("dim", [1, 2])
def test_levels_may_be_observed_in_part_more_than_once_and_in_any_order(name, dim):
    teacher = make_teacher(name, dim, seed=8)
    generator = np.random.default_rng(0)
    for moment in range(6):
        proposed = teacher.propose(ROUND)
        played = proposed.rows(torch.from_numpy(generator.integers(0, ROUND, size=ROUND)))
        assert_finite(teacher.observe(played, score(played, moment)))
        late = proposed.rows(torch.arange(5))
        assert_finite(teacher.observe(late, score(late, moment + 1)))
    assert_sound(teacher.propose(50), 50, dim)


def test_levels_that_it_never_proposed_do_no_harm(name):
    teacher = make_teacher(name, 2, seed=8)
    strange = make_teacher("random", 2, seed=9).propose(ROUND)
    for moment in range(5):
        assert_finite(teacher.observe(strange, score(strange, moment)))
        assert_sound(teacher.propose(20), 20, 2)


def test_corners_of_the_cube_are_levels_like_any_other(name):
    """Faces belong to the space."""
    teacher = make_teacher(name, 2, seed=8)
    corner_n2 = (
        torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]).double().repeat(50, 1)
    )
    levels = Levels(corner_n2, torch.arange(200), torch.ones(200, dtype=torch.bool))
    for moment in range(4):
        assert_finite(teacher.observe(levels, score(levels, moment)))
        assert_sound(teacher.propose(20), 20, 2)


def test_what_is_observed_is_left_as_it_was(name):
    teacher = taught(name, 2)
    levels = teacher.propose(50)
    score_n = score(levels)
    copies = levels.rows(torch.arange(50)), score_n.clone()
    teacher.observe(levels, score_n)
    teacher.propose(50)
    assert are_equal(levels, copies[0])
    assert torch.equal(score_n, copies[1])


@pytest.mark.parametrize("dim", DIMS)
def test_a_mixture_is_of_the_cubes_dimension(name, dim):
    if (mixture := taught(name, dim).mixture()) is None:
        pytest.skip("draws from no Gaussians")
    gaussians = len(mixture.weight_G)
    assert mixture.mean_Gd.shape == (gaussians, dim)
    assert mixture.covariance_Gdd.shape == (gaussians, dim, dim)
    assert mixture.weight_G.min() >= 0
    for tensor in (mixture.weight_G, mixture.mean_Gd, mixture.covariance_Gdd):
        assert tensor.isfinite().all()


def test_an_unknown_teacher_or_constant_is_named():
    with pytest.raises(ValueError, match=r"Unknown teacher 'acel'. Did you mean 'accel'"):
        make_teacher("acel", 2, 0)
    with pytest.raises(ValueError, match=r"Unknown option 'spraed'. Did you mean 'spread'"):
        make_teacher("accel", 2, 0, {"spraed": "1"})


def test_every_teacher_file_has_its_line_in_the_registry():
    missing = missing_lines(Path(teachers.__file__).parent, TEACHERS)
    assert not missing, "add to TEACHERS in curricula/teachers/__init__.py:\n" + "\n".join(missing)


def test_an_unregistered_teacher_file_is_named_with_its_missing_line(tmp_path):
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "plr.py").write_text("class PLRConfig: ...\nclass RobustPLRConfig: ...")
    (tmp_path / "goal_gan.py").write_text("class GoalGANConfig: ...\nclass GoalGANTeacher: ...")
    assert missing_lines(tmp_path, TEACHERS) == ['    "goal-gan": GoalGANConfig,']


def missing_lines(folder: Path, registry: dict[str, type]) -> list[str]:
    """The lines of `TEACHERS` that the files in `folder` lack."""
    registered = {config.__name__ for config in registry.values()}
    lines = []
    for file in sorted(set(folder.glob("[!_]*.py")) - {folder / name for name in NOT_REGISTERED}):
        classes = [n.name for n in ast.parse(file.read_text()).body if isinstance(n, ast.ClassDef)]
        configs = [name for name in classes if name.endswith("Config")]
        assert configs, f"{file.name} holds no class named …Config"
        key = file.stem.replace("_", "-")
        lines += [f'    "{key}": {config},' for config in configs if config not in registered]
    return lines
