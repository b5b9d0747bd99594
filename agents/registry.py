"""The agents by name: what `--agent` takes."""

from quickstudy.agents.agent import AgentConfig
from quickstudy.agents.models import (
    FeedforwardConfig,
    GatedDeltaNetConfig,
    GRUConfig,
    LSTMConfig,
    MinGRUConfig,
    S4DConfig,
    S5Config,
    TransformerConfig,
    TrMRLConfig,
)
from quickstudy.envs.errors import unknown

AGENTS: dict[str, AgentConfig] = {
    # Duan et al. 2016; Wang et al. 2016: the memory is the learning algorithm.
    "rl2": AgentConfig(GRUConfig()),
    # The same agent with other memories, all of about 75 000 parameters.
    "lstm": AgentConfig(LSTMConfig()),
    "min_gru": AgentConfig(MinGRUConfig()),
    "s4d": AgentConfig(S4DConfig(mode="convolution")),
    "s5": AgentConfig(S5Config()),
    "transformer": AgentConfig(TransformerConfig()),
    "gated_deltanet": AgentConfig(GatedDeltaNetConfig()),
    # Melo 2022 at its published size (0.8 million), and at the others'.
    "trmrl": AgentConfig(TrMRLConfig()),
    "trmrl_small": AgentConfig(
        TrMRLConfig(hidden_size=64, layers=2, heads=8, feedforward_size=144)
    ),
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
