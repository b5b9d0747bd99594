"""The agents by name: what `--agent` takes."""

from quickstudy.agents.agent import AgentConfig
from quickstudy.agents.models import FeedforwardConfig, GRUConfig
from quickstudy.envs.errors import unknown

AGENTS: dict[str, AgentConfig] = {
    # Duan et al. 2016; Wang et al. 2016: the memory is the learning algorithm.
    "rl2": AgentConfig(GRUConfig()),
    # The best non-adaptive policy: sees neither history nor task.
    "markov": AgentConfig(FeedforwardConfig(), sees_history=False),
    # The same body told its task: what there is to gain from adapting at once.
    "oracle": AgentConfig(FeedforwardConfig(), sees_history=False, sees_task=True),
}


def agent_config(name: str) -> AgentConfig:
    """The configuration of a registered agent.

    Raises:
        ValueError: for an unknown name; it lists the agents and suggests the nearest.
    """
    if name not in AGENTS:
        raise unknown("agent", name, AGENTS)
    return AGENTS[name]
