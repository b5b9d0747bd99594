"""What all tests share."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

# Before anything imports torch: see quickstudy/experiments/__init__.py.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

EVERYDAY_METAWORLD = "MetaWorldML1Reach"
"""Meta-World's families differ in tasks alone; the tests of the others are slow ones."""

EVERYDAY_DMC = {"DMCFingerTurnHard", "DMCPointMassHard", "ProjectedDMC"}
"""Those of the control suite with something of their own; the contracts of the others are slow."""


@pytest.fixture(name="no_host_reads", scope="session")
def _no_host_reads():
    """The context manager of `tests/no_host_reads.py` (tests import nothing from each other)."""
    file = Path(__file__).with_name("no_host_reads.py")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.no_host_reads


@pytest.fixture
def trained_here(monkeypatch):
    """Studies train in this process, one run after the other: one of its own takes seconds to
    begin. The list of the commands.
    """
    from quickstudy.experiments import cli, compare
    from quickstudy.experiments.discovery import meta_test

    commands = []

    def train_all(runs, jobs, console):
        for run in runs:
            if not run.finished:
                commands.append(run.arguments)
                monkeypatch.setattr(sys, "argv", ["quickstudy", *run.arguments])
                cli.main()

    for module in (compare, meta_test):
        monkeypatch.setattr(module, "train_all", train_all)
    return commands


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        values = item.callspec.params.values() if hasattr(item, "callspec") else ()
        names = {v for v in values if isinstance(v, str) and v.startswith("MetaWorld")}
        if names - {EVERYDAY_METAWORLD}:
            item.add_marker(pytest.mark.slow)
        names = {v for v in values if isinstance(v, str) and v.startswith(("DMC", "ProjectedDMC"))}
        if names - EVERYDAY_DMC and item.path.parent.name == "contracts":
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """A test that needs a missing extra is skipped; the reason names the line that installs it."""
    try:
        return (yield)
    except ValueError as error:
        from quickstudy.envs.errors import MissingExtraError

        if isinstance(error, MissingExtraError):
            pytest.skip(str(error))
        raise
