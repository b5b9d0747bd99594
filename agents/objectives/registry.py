"""The objectives by name: what `--objective` takes."""

from collections.abc import Callable

from quickstudy.agents.objectives.a2c import A2C
from quickstudy.agents.objectives.discovered import Discovered, find_discovered, shipped_names
from quickstudy.agents.objectives.dpo_family import DPOFamily
from quickstudy.agents.objectives.drift_objective import DPO, LearnedDriftObjective
from quickstudy.agents.objectives.drifts import LearnedDrift
from quickstudy.agents.objectives.objective import Objective
from quickstudy.agents.objectives.ppo import PPO, PPOConfig
from quickstudy.agents.objectives.schedule import Schedule, ScheduledObjective
from quickstudy.envs.errors import unknown

OBJECTIVES: dict[str, Callable[[PPOConfig], Objective]] = {
    # Schulman et al. 2017.
    "ppo": PPO,
    # Mnih et al. 2016.
    "a2c": A2C,
    # Lu et al. 2022.
    "dpo": DPO,
}

DISCOVERED = "discovered:"
"""What a discovered rule's name or path is written after."""


def objective_names() -> list[str]:
    """All that can be named; a path of one's own comes on top."""
    return [*OBJECTIVES, *(DISCOVERED + name for name in shipped_names())]


def make_objective(name: str, config: PPOConfig) -> Objective:
    """An objective with these constants: a registered one, or `discovered:` and a name or a path.

    Raises:
        ValueError: for an unknown name, a file that cannot be used, or a rule that the suite's
            learner cannot follow.
    """
    if name.startswith(DISCOVERED):
        return _following(Discovered.load(find_discovered(name.removeprefix(DISCOVERED))), config)
    if name not in OBJECTIVES:
        raise unknown("objective", name, [*objective_names(), f"{DISCOVERED}PATH"])
    return OBJECTIVES[name](config)


def portable_name(name: str) -> str:
    """The same objective, wherever one stands: a relative path made absolute.

    Raises:
        ValueError: for a discovered rule that is not there.
    """
    target = name.removeprefix(DISCOVERED)
    if target == name or target in shipped_names():
        return name
    return f"{DISCOVERED}{find_discovered(target)}"


def _following(found: Discovered, config: PPOConfig) -> Objective:
    """The objective of an agent that learns by a discovered rule."""
    if isinstance(found.network, LearnedDrift | DPOFamily):
        return LearnedDriftObjective(config, found.network, found.rule_M)
    if isinstance(found.network, Schedule):
        return ScheduledObjective(config, found.network, found.rule_M)
    raise ValueError(
        f"a rule of kind {found.kind} tells an agent what to predict, which the agents of "
        "`quickstudy train` do not: they have no head for it. It is for the agents of `quickstudy "
        "discover`; a rule of kind drift, dpo or schedule works here."
    )
