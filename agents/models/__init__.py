"""Sequence models, one per file. A new one is a file here and a line in `MODELS`."""

from quickstudy.agents.models.feedforward import FeedforwardConfig
from quickstudy.agents.models.gated_deltanet import GatedDeltaNetConfig
from quickstudy.agents.models.gru import GRUConfig
from quickstudy.agents.models.lstm import LSTMConfig
from quickstudy.agents.models.min_gru import MinGRUConfig
from quickstudy.agents.models.s4d import S4DConfig
from quickstudy.agents.models.s5 import S5Config
from quickstudy.agents.models.transformer import TransformerConfig
from quickstudy.agents.models.trmrl import TrMRLConfig

__all__ = [
    "MODELS",
    "FeedforwardConfig",
    "GRUConfig",
    "GatedDeltaNetConfig",
    "LSTMConfig",
    "MinGRUConfig",
    "ModelConfig",
    "S4DConfig",
    "S5Config",
    "TrMRLConfig",
    "TransformerConfig",
]

ModelConfig = (
    GRUConfig
    | FeedforwardConfig
    | LSTMConfig
    | GatedDeltaNetConfig
    | S5Config
    | S4DConfig
    | TransformerConfig
    | TrMRLConfig
    | MinGRUConfig
)

MODELS: dict[str, type[ModelConfig]] = {
    "gru": GRUConfig,
    "feedforward": FeedforwardConfig,
    "lstm": LSTMConfig,
    "gated_deltanet": GatedDeltaNetConfig,
    "s5": S5Config,
    "s4d": S4DConfig,
    "transformer": TransformerConfig,
    "trmrl": TrMRLConfig,
    "min_gru": MinGRUConfig,
}
