"""Meta-World's families and their tasks against the package's benchmarks."""

import importlib
import pickle

import numpy as np
import pytest

from quickstudy.envs.metaworld import benchmarks, package
from quickstudy.envs.metaworld.environments import ENVIRONMENTS, GOAL_SEED
from quickstudy.envs.metaworld.family import MetaWorld
from quickstudy.envs.metaworld.goals import goals
from quickstudy.envs.metaworld.package import INSTALL, installed_version, load_metaworld
from quickstudy.envs.registry import FAMILIES, family_class

NAMES = [name for name in FAMILIES if name.startswith("MetaWorld")]
HIDDEN = [name for name in NAMES if name.startswith("MetaWorldML")]

needs_metaworld = pytest.mark.skipif(installed_version() is None, reason=f"needs {INSTALL}")

EVERYDAY = ("reach", "bin-picking", "door-open", "button-press-topdown-wall")
"""Objects in the air, state kept in attributes, a body that is moved, a weld beside a wall."""


def number(environment):
    return ENVIRONMENTS.index(environment)


# --- without the package ----------------------------------------------------------------------


def test_a_missing_package_is_reported_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setattr(package, "installed_version", lambda: None)
    with pytest.raises(ValueError, match=r'pip install "quickstudy\[metaworld\]"'):
        load_metaworld.__wrapped__()


def test_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(package, "installed_version", lambda: "3.1.1")
    with pytest.raises(ValueError, match=r"metaworld 3\.0\.0, 3\.1\.1 is installed.*pip install"):
        load_metaworld.__wrapped__()


def test_no_task_is_both_trained_and_tested_in_any_meta_learning_family():
    for name in HIDDEN:
        space = family_class(name).task_space
        count = len(space.listing("train", 10_000, 0).unique(dim=0))
        train, test = space.listing("train", count, 0), space.listing("test", 250, 0)
        assert len(train.unique(dim=0)) == count
        assert not bool(space.contains("test", train).any()), name
        assert not bool(space.contains("train", test).any()), name
        if "ML1" not in name.replace("ML10", ""):
            assert not set(train[:, 0].tolist()) & set(test[:, 0].tolist()), name


def test_the_families_have_the_sizes_in_their_names():
    sizes = {
        name: tuple(
            len(family_class(name).task_space.listing(split, 5000, 0)[:, column].unique())
            for split in ("train", "test")
            for column in (0, 1)
        )
        for name in NAMES
    }
    for name, expected in {
        "MetaWorldML1Reach": (1, 50, 1, 50),
        "MetaWorldML1Push": (1, 50, 1, 50),
        "MetaWorldML1PickPlace": (1, 50, 1, 50),
        "MetaWorldML10": (10, 50, 5, 50),
        "MetaWorldML45": (45, 50, 5, 50),
        "MetaWorldMT1Reach": (1, 50, 1, 50),
        "MetaWorldMT1Push": (1, 50, 1, 50),
        "MetaWorldMT1PickPlace": (1, 50, 1, 50),
        "MetaWorldMT10": (10, 50, 10, 50),
        "MetaWorldMT50": (50, 50, 50, 50),
    }.items():
        assert sizes.pop(name) == expected, name
    assert not sizes


def test_every_family_of_the_package_is_one_of_ours():
    assert all(issubclass(family_class(name), MetaWorld) for name in NAMES)
    assert len(NAMES) == 10


# --- tasks are the package's ------------------------------------------------------------------


@needs_metaworld
def test_the_benchmarks_environments_are_the_packages():
    load_metaworld()
    theirs = importlib.import_module("metaworld.env_dict")

    def names(table):
        return [name.removesuffix("-v3") for name in table]

    assert names(theirs.ALL_V3_ENVIRONMENTS) == list(ENVIRONMENTS)
    assert names(theirs.ML10_V3["train"]) == list(benchmarks.ML10_TRAIN)
    assert names(theirs.ML10_V3["test"]) == list(benchmarks.ML10_TEST)
    assert set(names(theirs.ML45_V3["train"])) == set(benchmarks.ML45_TRAIN)
    assert set(names(theirs.ML45_V3["test"])) == set(benchmarks.ML45_TEST)
    assert names(theirs.MT10_V3) == list(benchmarks.MT10)


def vectors(task_list):
    return np.array([pickle.loads(task.data)["rand_vec"] for task in task_list])


def check_goals(environment, count):
    """The first `count` of each split are those of `metaworld.ML1`, which simulates its resets."""
    theirs = load_metaworld().ML1(f"{environment}-v3", seed=GOAL_SEED)
    ours = np.array(goals(number(environment)))
    np.testing.assert_array_equal(ours[:count], vectors(theirs.train_tasks))
    np.testing.assert_array_equal(ours[50 : 50 + count], vectors(theirs.test_tasks))
    assert len(np.unique(ours, axis=0)) == 100


@needs_metaworld
@pytest.mark.parametrize("environment", EVERYDAY)
def test_goals_are_those_of_the_packages_own_tasks(environment, monkeypatch):
    monkeypatch.setattr(load_metaworld(), "_N_GOALS", 4)
    check_goals(environment, 4)


@needs_metaworld
@pytest.mark.slow
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_all_goals_are_those_of_the_packages_own_tasks(environment):
    check_goals(environment, 50)
