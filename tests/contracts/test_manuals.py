"""A family's docstring is its manual: complete, and true to the class."""

import inspect
import re

import pytest
import torch
from gymnasium import spaces

from quickstudy.envs.families.probes import Probe
from quickstudy.envs.registry import FAMILIES, family_class
from quickstudy.envs.trials import TrialEnv

PROBES = [name for name in FAMILIES if issubclass(family_class(name), Probe)]
TASK_FAMILIES = [name for name in FAMILIES if name not in PROBES]
SECTIONS = ("Task", "Observation", "Action", "Reward", "Episode", "Source", "Peers")


def sections(name):
    """The docstring's `## …` sections by title."""
    parts = re.split(r"^## (.+)$", inspect.getdoc(family_class(name)), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def table_indices(section):
    """All indices in a table's first column; `1–4` and `0, 1` name several."""
    indices = []
    for first, last in re.findall(r"(?:^\| |, )(\d+)(?:–(\d+))?(?=[^|\n]*\|)", section, re.M):
        indices += range(int(first), int(last or first) + 1)
    return indices


def first_column(section):
    """A section with its tables cut down to the first column."""
    return re.sub(r"^(\|[^|\n]*\|).*$", r"\1", section, flags=re.MULTILINE)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_a_docstring_of_its_own(name):
    assert family_class(name).__dict__["__doc__"]


@pytest.mark.parametrize("name", TASK_FAMILIES)
def test_the_manual_has_its_sections_in_order(name):
    titles = [title for title in sections(name) if title in SECTIONS]
    assert titles == list(SECTIONS)


@pytest.mark.parametrize("name", TASK_FAMILIES)
def test_the_manuals_tables_cover_every_index_once(name):
    cls, manual = family_class(name), sections(name)
    sizes = {"Task": cls.task_space.dim, "Observation": cls.observation_space.shape[0]}
    if isinstance(cls.action_space, spaces.Box):
        sizes["Action"] = cls.action_space.shape[0]
    for title, size in sizes.items():
        assert table_indices(first_column(manual[title])) == list(range(size)), title


@pytest.mark.parametrize("name", TASK_FAMILIES)
def test_the_manual_names_every_task_parameter_with_its_unit(name):
    for parameter in family_class(name).task_space.parameters:
        row = re.search(rf"\|[^\n]*\b{parameter.name}\b[^\n]*\|", sections(name)["Task"])
        assert row, parameter.name
        assert re.search(rf"\| {re.escape(parameter.unit)} \|$", row[0]), parameter.unit


@pytest.mark.parametrize("name", TASK_FAMILIES)
def test_the_manual_names_every_reward_term(name):
    env = TrialEnv(name, num_worlds=2)
    env.reset(seed=0)
    space = env.family.action_space
    idle = torch.zeros(2, dtype=torch.int64) if space.shape == () else torch.zeros(2, *space.shape)
    terms = env.family.step(idle).reward_terms
    assert set(re.findall(r"`(\w+)` =", sections(name)["Reward"])) == set(terms)


@pytest.mark.parametrize("name", TASK_FAMILIES)
def test_the_manual_states_the_registered_default_trial(name):
    text = " ".join(sections(name)["Episode"].split())
    stated = re.search(r"(\d+) steps(?: \([^)]*\))? by default, (\d+) episodes? per trial", text)
    entry = FAMILIES[name]
    assert stated
    assert [int(n) for n in stated.groups()] == [entry.episode_length, entry.episodes_per_trial]


def test_the_table_reader_reads_ranges_and_lists():
    table = "| index | meaning |\n|---|---|\n| 0 | a, 7 |\n| 1–3 | b |\n| 4, 5 | 9 |\n"
    assert table_indices(first_column(table)) == [0, 1, 2, 3, 4, 5]
