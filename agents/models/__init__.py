"""Sequence models, one per file. A new one is a file here and a line in `MODELS`."""

from quickstudy.agents.models.feedforward import FeedforwardConfig
from quickstudy.agents.models.gru import GRUConfig

__all__ = ["MODELS", "FeedforwardConfig", "GRUConfig", "ModelConfig"]

ModelConfig = GRUConfig | FeedforwardConfig

MODELS: dict[str, type[ModelConfig]] = {
    "gru": GRUConfig,
    "feedforward": FeedforwardConfig,
}
