"""TrMRL (Melo 2022, arXiv 2206.06614), as released: a transformer over the five last inputs.

Shape legend: T time, B worlds, N windows, D input features, d features of a token, S slots of the
window (the last holds the present input), Q queries (the last Q slots), F feed-forward units.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from quickstudy.agents.attention import attend, stretch_starts
from quickstudy.agents.sequence_model import SequenceModel, State, blank_where


@dataclass(frozen=True)
class TrMRLConfig:
    """Size of TrMRL; by default as released for MuJoCo."""

    hidden_size: int = 128
    """Features of a token, and of the output."""
    layers: int = 4
    """Encoder layers."""
    heads: int = 16
    """Attention heads."""
    feedforward_size: int = 512
    """Hidden units between a layer's two feed-forward layers."""
    window: int = 5
    """Inputs that the memory holds, the present one included."""

    def build(self, input_size: int, generator: torch.Generator, horizon: int) -> "TrMRL":
        """The model; trials may have any `horizon`.

        Raises:
            ValueError: if the heads do not divide the features, these are odd, or without window.
        """
        del horizon  # unused: the window has its own length
        if self.window < 1:
            raise ValueError(f"window must be at least 1, got {self.window}.")
        if self.hidden_size % self.heads or self.hidden_size % 2:
            raise ValueError(
                f"hidden_size must be even and a multiple of heads = {self.heads}, "
                f"got {self.hidden_size}."
            )
        return TrMRL(self, input_size, generator)


class TrMRL(SequenceModel):
    """An encoder without LayerNorm over a short window that is wiped at each episode's start.

    What five steps can do: identify, within an episode, a task that shows in a few consecutive
    inputs (a reward that depends on the velocity just reached, say), anew at every moment. What
    they cannot: hold anything found more than five inputs ago, or carry anything from one episode
    to the next; its later episodes are no better than its first. A few inputs after a start, the
    window is only partly filled.

    State: the window's embedded inputs, `(B, S, d)`, the present one last and zeros where there is
    none yet, and the number of inputs read since the wipe, `(B,)` int64.

    Where this differs from the released code: the present input is known by count, where that
    searches for the first row of zeros (and so mistakes an observation of zeros for the end of the
    window); the bias-free embedding reads the agent's embedded token, where that reads the raw one;
    heads, value function and optimiser are the suite's; feed-forward biases are drawn for each
    layer, where that copies one layer's to all.
    """

    wiped_each_episode: ClassVar[bool] = True

    def __init__(self, config: TrMRLConfig, input_size: int, generator: torch.Generator) -> None:
        super().__init__()
        d, layers = config.hidden_size, config.layers
        self.input_size = input_size
        self.output_size = d
        self.window = config.window
        self.span = config.window
        self.embedding = _blank_linear(input_size, d, bias=False)
        nn.init.normal_(self.embedding.weight, 0.0, _embedding_std(d, layers), generator=generator)
        self.layers = nn.ModuleList(_Layer(config, generator) for _ in range(layers))

    def initial_state(self, batch: int) -> State:
        device = self.embedding.weight.device
        window_BSd = torch.zeros(batch, self.window, self.output_size, device=device)
        return window_BSd, torch.zeros(batch, dtype=torch.int64, device=device)

    def _step(self, x_BD: Tensor, reset_B: Tensor, state: State) -> tuple[Tensor, State]:
        window_BSd, count_B = blank_where(reset_B, state)
        present_B1d = self.embedding(x_BD).unsqueeze(1)
        window_BSd = torch.cat([window_BSd[:, 1:], present_B1d], dim=1)
        return self._read(window_BSd, count_B + 1), (window_BSd, count_B + 1)

    def _scan(self, x_TBD: Tensor, reset_TB: Tensor, state: State) -> tuple[Tensor, State]:
        past_BSd, count_B = state
        T, B, _ = x_TBD.shape
        sequence = torch.cat([past_BSd.transpose(0, 1)[1:], self.embedding(x_TBD)])
        window_TBSd = sequence.unfold(0, self.window, 1).transpose(2, 3)
        time_T1 = torch.arange(T, device=x_TBD.device).unsqueeze(1)
        count_TB = time_T1 - stretch_starts(reset_TB, count_B) + 1
        y_TBd = self._read(window_TBSd.flatten(0, 1), count_TB.flatten()).view(T, B, -1)
        blanked_BS = reset_TB.any(dim=0).unsqueeze(1) & ~self._filled(count_TB[-1])
        final_BSd = window_TBSd[-1].masked_fill(blanked_BS.unsqueeze(2), 0.0)
        return y_TBd, (final_BSd, count_TB[-1])

    def _filled(self, count_N: Tensor) -> Tensor:
        """Where the window `(N, S)` holds an input: its last slots, as many as were read."""
        slot_S = torch.arange(self.window, device=count_N.device)
        return slot_S >= self.window - count_N.unsqueeze(1)

    def _read(self, window_NSd: Tensor, count_N: Tensor) -> Tensor:
        """The encoder's output `(N, d)` at the present input."""
        filled_NS = self._filled(count_N)
        # Positions count from the oldest input held; slots without one are never looked at.
        position_NS = (filled_NS.cumsum(dim=1) - 1).clamp(min=0)
        table_Sd = sinusoids(self.window, self.output_size, window_NSd)
        x_NSd = (window_NSd + table_Sd[position_NS]).masked_fill(~filled_NS.unsqueeze(2), 0.0)
        mask = _mask(filled_NS, peeks=self.peeks)
        for layer in self.layers[:-1]:
            x_NSd = layer(x_NSd, self.window, mask)
        # Of the last layer only the present slot is read.
        y_N1d: Tensor = self.layers[-1](x_NSd, 1, mask[:, :, -1:])
        return y_N1d.squeeze(1)


class _Layer(nn.Module):
    """Attention, then a ReLU pair, each added to what came in; nothing is normalised."""

    def __init__(self, config: TrMRLConfig, generator: torch.Generator) -> None:
        super().__init__()
        d, hidden, scale = config.hidden_size, config.feedforward_size, _tfixup(config.layers)
        self.heads = config.heads
        # √2: Xavier's range for the three matrices as one is smaller by that than for each alone.
        self.projection = _xavier(d, 3 * d, generator, scale * 2**0.5)
        self.attention_output = _xavier(d, d, generator, scale)
        self.feedforward = _xavier(d, hidden, generator, scale)
        self.feedforward_output = _xavier(hidden, d, generator, scale)
        for layer in (self.feedforward, self.feedforward_output):
            bound = layer.in_features**-0.5
            nn.init.uniform_(layer.bias, -bound, bound, generator=generator)

    def forward(self, x_NSd: Tensor, queries: int, mask: Tensor) -> Tensor:
        """The layer's output `(N, Q, d)` at the last `queries` slots."""
        d = x_NSd.shape[2]
        weight, bias = self.projection.weight, self.projection.bias
        x_NQd = x_NSd[:, -queries:]
        q_NQd = functional.linear(x_NQd, weight[:d], bias[:d])
        k_NSd, v_NSd = functional.linear(x_NSd, weight[d:], bias[d:]).chunk(2, dim=2)
        x_NQd = x_NQd + self.attention_output(attend(q_NQd, k_NSd, v_NSd, self.heads, mask))
        hidden_NQF = functional.relu(self.feedforward(x_NQd))
        y_NQd: Tensor = x_NQd + self.feedforward_output(hidden_NQF)
        return y_NQd


def sinusoids(slots: int, features: int, like: Tensor) -> Tensor:
    """Positions `(slots, features)` of Vaswani et al. (2017), sec. 3.5.

    sin(s / 10000^(2i/d)) and cos of the same, in turn; of the type and on the device of `like`.
    """
    pair = torch.arange(0, features, 2, dtype=torch.float64, device=like.device)
    slot_S1 = torch.arange(slots, device=like.device).unsqueeze(1)
    angle = slot_S1 * 10_000.0 ** (-pair / features)
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1).to(like.dtype)


def _mask(filled_NS: Tensor, *, peeks: bool) -> Tensor:
    """True where slot q may look, `(N or 1, 1, S, S)`: at itself and at filled slots before it.

    A slot without input looks at itself, since to look at nothing is not defined; none reads it.
    """
    S = filled_NS.shape[1]
    causal_SS = torch.ones(S, S, dtype=torch.bool, device=filled_NS.device).tril()
    if peeks and filled_NS.all():
        return causal_SS.view(1, 1, S, S)
    itself_SS = torch.eye(S, dtype=torch.bool, device=filled_NS.device)
    return (causal_SS & filled_NS.unsqueeze(1)).logical_or(itself_SS).unsqueeze(1)


def _tfixup(layers: int) -> float:
    """T-Fixup's factor on an encoder's weights (Huang et al. 2020), which replaces the norms."""
    return 0.67 / math.sqrt(math.sqrt(layers))


def _embedding_std(features: int, layers: int) -> float:
    """Of T-Fixup's embedding: of N(0, 1/d), times (9L)^(−1/4)."""
    return 1.0 / math.sqrt(features * math.sqrt(9.0 * layers))


def _xavier(inputs: int, outputs: int, generator: torch.Generator, gain: float) -> nn.Linear:
    """An affine map with Xavier's uniform weights (Glorot & Bengio 2010), scaled, and zero bias."""
    layer = _blank_linear(inputs, outputs, bias=True)
    nn.init.xavier_uniform_(layer.weight, gain, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


def _blank_linear(inputs: int, outputs: int, *, bias: bool) -> nn.Linear:
    """A map whose weights are yet to be drawn."""
    layer: nn.Linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]  # torch's
        nn.Linear, inputs, outputs, bias=bias
    )
    return layer
