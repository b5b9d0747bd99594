"""`quickstudy list`: what there is to train, and on what."""

import dataclasses
import inspect
import sys

from rich.table import Table

from quickstudy.agents.objectives.discovered import SHIPPED, Discovered, shipped_names
from quickstudy.agents.objectives.registry import DISCOVERED, OBJECTIVES
from quickstudy.agents.registry import AGENTS
from quickstudy.curricula.teachers import TEACHERS
from quickstudy.envs.registry import FAMILIES, family_class


def families_table() -> Table:
    """The families with their tasks, splits and default trial."""
    table = Table("family", "task", "splits", "trial", "what", title="Families")
    for name, entry in FAMILIES.items():
        cls = family_class(name)
        task = ", ".join(
            f"{p.name} [{p.low:.3g}, {p.high:.3g}] {p.unit}" for p in cls.task_space.parameters
        )
        trial = f"{entry.episodes_per_trial} × {entry.episode_length}"
        summary = (cls.__doc__ or "").strip().splitlines()[0]
        table.add_row(name, task, ", ".join(cls.task_space.splits), trial, summary)
    return table


def agents_table() -> Table:
    """The agents and what each sees."""
    table = Table("agent", "memory", "sees history", "sees task", title="Agents")
    for name, config in AGENTS.items():
        memory = type(config.memory).__name__.removesuffix("Config")
        seen = ["yes" if flag else "no" for flag in (config.sees_history, config.sees_task)]
        table.add_row(name, memory, *seen)
    return table


def objectives_table() -> Table:
    """The objectives, and where the discovered ones come from."""
    table = Table("objective", "what", title="Objectives")
    for name, objective in OBJECTIVES.items():
        table.add_row(name, (inspect.getdoc(objective) or "").splitlines()[0])
    for name in shipped_names():
        found = Discovered.load(SHIPPED / f"{name}.json")
        table.add_row(DISCOVERED + name, f"{found.kind}, by: {found.provenance.command}")
    return table


def teachers_table() -> Table:
    """The teachers and their constants, as `--teacher-options` takes them."""
    table = Table("teacher", "what", "constants", title="Teachers")
    for name, config in TEACHERS.items():
        summary = (sys.modules[config.__module__].__doc__ or "").strip().splitlines()[0]
        constants = dataclasses.asdict(config())  # type: ignore[call-overload]  # a dataclass
        table.add_row(name, summary, ", ".join(f"{k} {v}" for k, v in constants.items()))
    return table
