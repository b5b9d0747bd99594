"""A causal transformer over the whole trial, with rotary positions and a cache of keys and values.

The cache is a ring: the input at position n of a trial stands in slot n mod W, and of the slots the
last W inputs are in use. Keys are stored turned by their position in the trial, so they never
change; products of queries and keys then depend on distances alone, which no trial's length takes
beyond W.

Shape legend: T time, B worlds, D input features, d features of a token, L layers, W slots,
Q queries, K keys.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from quickstudy.agents.attention import attend, rotate, rotation, stretch_starts
from quickstudy.agents.layers import linear
from quickstudy.agents.sequence_model import SequenceModel, State, blank_where


@dataclass(frozen=True)
class TransformerConfig:
    """Size of a transformer."""

    hidden_size: int = 64
    """Features of a token, and of the output."""
    layers: int = 2
    """Blocks of attention and feed-forward."""
    heads: int = 4
    """Attention heads; each has hidden_size / heads features, an even number."""
    feedforward_size: int = 144
    """Hidden units between a block's two feed-forward layers."""
    context: int | None = None
    """Inputs that one layer looks back on, the present one included. None: the whole trial."""

    def build(self, input_size: int, generator: torch.Generator, horizon: int) -> "Transformer":
        """The model for trials of `horizon` steps.

        Raises:
            ValueError: if the heads do not divide the features into pairs, or without context.
        """
        context = horizon if self.context is None else self.context
        if context < 1:
            raise ValueError(f"context must be at least 1, got {context}.")
        if self.hidden_size % (2 * self.heads):
            raise ValueError(
                f"hidden_size must be a multiple of 2 · heads = {2 * self.heads}, "
                f"got {self.hidden_size}."
            )
        return Transformer(self, input_size, context, generator)


class Transformer(SequenceModel):
    """Pre-norm blocks (Xiong et al. 2020) of causal attention and GELU layers, then a norm.

    Each layer looks back on the last W inputs of the trial. In trials longer than W an output thus
    depends on up to L · (W − 1) + 1 inputs, since what a layer looks at has looked back itself.

    State: keys and values, each `(B, L, W, d)`, and the number of inputs read, `(B,)` int64; slots
    not in use are zero.
    """

    def __init__(
        self, config: TransformerConfig, input_size: int, context: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.output_size = config.hidden_size
        self.heads = config.heads
        self.context = context
        self.span = config.layers * (context - 1) + 1
        self.embedding = linear(input_size, config.hidden_size, generator, gain=1.0)
        self.blocks = nn.ModuleList(_Block(config, generator) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.hidden_size)

    def initial_state(self, batch: int) -> State:
        device = self.norm.weight.device
        shape = (batch, len(self.blocks), self.context, self.output_size)
        keys, values = torch.zeros(shape, device=device), torch.zeros(shape, device=device)
        return keys, values, torch.zeros(batch, dtype=torch.int64, device=device)

    def _step(self, x_BD: Tensor, reset_B: Tensor, state: State) -> tuple[Tensor, State]:
        keys, values, count_B = self._blank_where(reset_B, state)
        x_Bd = self.embedding(x_BD)
        turns = self._rotation(count_B)
        place = (torch.arange(len(x_BD), device=x_BD.device), count_B % self.context)
        used, mask = self._used(count_B)
        written: list[tuple[Tensor, Tensor]] = []
        for layer, block in enumerate(self._blocks()):
            q_Bd, k_Bd, v_Bd = block.project(x_Bd, turns)
            k_BWd = _write(keys[:, layer], place, k_Bd)
            v_BWd = _write(values[:, layer], place, v_Bd)
            attended = attend(q_Bd.unsqueeze(1), k_BWd[:, :used], v_BWd[:, :used], self.heads, mask)
            x_Bd = block.finish(x_Bd, attended.squeeze(1))
            written.append((k_BWd, v_BWd))
        if not _in_place():
            keys, values = (torch.stack(rows, dim=1) for rows in zip(*written, strict=True))
        return self.norm(x_Bd), (keys, values, count_B + 1)

    def _used(self, count_B: Tensor) -> tuple[int, Tensor | None]:
        """How many slots any world uses after this input, and which each may look at."""
        if not self.peeks:
            return self.context, self._visible(self.context, count_B)
        fewest, most = int(count_B.min()), int(count_B.max())
        used = min(most + 1, self.context)
        if fewest + 1 >= used:
            return used, None
        return used, self._visible(used, count_B)

    def _visible(self, used: int, count_B: Tensor) -> Tensor:
        """True where a world may look, `(B, 1, 1, used)`."""
        slot_W = torch.arange(used, device=count_B.device)
        return (slot_W <= count_B.unsqueeze(1))[:, None, None]

    def _blank_where(self, reset_B: Tensor, state: State) -> State:
        """`blank_where`; in place if allowed, and then at no cost where a look shows no reset."""
        if not _in_place():
            return blank_where(reset_B, state)
        for rows in state:
            if not self.peeks:
                rows.masked_fill_(reset_B.view(-1, *[1] * (rows.ndim - 1)), 0)
            elif reset_B.any():
                rows[reset_B] = 0
        return state

    def _scan(self, x_TBD: Tensor, reset_TB: Tensor, state: State) -> tuple[Tensor, State]:
        keys, values, count_B = state
        view = _View(reset_TB, count_B, self.context)
        turns = self._rotation(view.position_BT)
        x_BTd = self.embedding(x_TBD.transpose(0, 1))
        final: list[tuple[Tensor, Tensor]] = []
        for layer, block in enumerate(self._blocks()):
            q_BTd, k_BTd, v_BTd = block.project(x_BTd, turns)
            cached = keys[:, layer], values[:, layer]
            x_BTd = block.finish(x_BTd, view.attend(q_BTd, k_BTd, v_BTd, cached, self.heads))
            final.append((view.ring(k_BTd, cached[0]), view.ring(v_BTd, cached[1])))
        keys, values = (torch.stack(rows, dim=1) for rows in zip(*final, strict=True))
        return self.norm(x_BTd).transpose(0, 1), (keys, values, view.count_B)

    def _rotation(self, position: Tensor) -> Tensor:
        return rotation(position, self.output_size // self.heads, self.norm.weight.dtype)

    def _blocks(self) -> "Iterator[_Block]":
        for block in self.blocks:
            assert isinstance(block, _Block)
            yield block


class _Block(nn.Module):
    """One layer: attention, then a feed-forward pair, each added to what came in."""

    def __init__(self, config: TransformerConfig, generator: torch.Generator) -> None:
        super().__init__()
        d, hidden = config.hidden_size, config.feedforward_size
        # The 2L sums keep the stream's variance from growing with depth (Radford et al. 2019).
        residual_gain = (2 * config.layers) ** -0.5
        self.attention_norm = nn.LayerNorm(d)
        # A gain of √3: orthogonal columns three times as long as d have a third of the variance.
        self.projection = linear(d, 3 * d, generator, gain=3**0.5)
        self.attention_output = linear(d, d, generator, gain=residual_gain)
        self.feedforward_norm = nn.LayerNorm(d)
        self.feedforward = linear(d, hidden, generator)
        self.feedforward_output = linear(hidden, d, generator, gain=residual_gain)

    def project(self, x: Tensor, turns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys, turned by their `rotation`, and values, of tokens `(..., d)`."""
        q, k, v = self.projection(self.attention_norm(x)).chunk(3, dim=-1)
        return rotate(q, turns), rotate(k, turns), v

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """The block's output `(..., d)`, given what its heads have gathered."""
        x = x + self.attention_output(attended)
        hidden = functional.gelu(self.feedforward(self.feedforward_norm(x)))
        y: Tensor = x + self.feedforward_output(hidden)
        return y


QUERIES = 128
"""Queries attended to at once where there is a mask, so that masks stay small."""


class _View:
    """Which steps each step of a scan may look at, and which of them the ring keeps.

    Times count from the scan's first step: what stands in the cache has negative times. A query at
    time t looks at times `first` to t, `first` being its trial's start, or t − W + 1 if later. As
    unused slots have times before any start, that one rule covers them too.
    """

    def __init__(self, reset_TB: Tensor, count_B: Tensor, context: int) -> None:
        T = len(reset_TB)
        self.time_T = torch.arange(T, device=reset_TB.device)
        self.start_BT = stretch_starts(reset_TB, count_B).t()
        self.position_BT = self.time_T - self.start_BT
        self.first_BT = self.start_BT.maximum(self.time_T - context + 1)
        self.count_B = self.position_BT[:, -1] + 1
        self.any_reset_B1 = reset_TB.any(dim=0).unsqueeze(1)
        self.cached_time_BW = slot_times(count_B, context)
        self.slots_read = min(context, int(count_B.max())) if (self.first_BT[:, 0] < 0).any() else 0
        self.whole_past = bool((self.first_BT == 0).all())

    def attend(
        self,
        q_BTd: Tensor,
        k_BTd: Tensor,
        v_BTd: Tensor,
        cached: tuple[Tensor, Tensor],
        heads: int,
    ) -> Tensor:
        """What each step gathers, `(B, T, d)`, from the cache and the steps before it."""
        if self.whole_past:
            return attend(q_BTd, k_BTd, v_BTd, heads, causal=True)
        k_BKd, v_BKd, time_BK = k_BTd, v_BTd, self.time_T.expand(len(k_BTd), -1)
        if self.slots_read:
            slots = slice(self.slots_read)
            k_BKd = torch.cat([cached[0][:, slots], k_BKd], dim=1)
            v_BKd = torch.cat([cached[1][:, slots], v_BKd], dim=1)
            time_BK = torch.cat([self.cached_time_BW[:, slots], time_BK], dim=1)
        gathered = []
        for queries, visible in self._pieces():
            mask_BQK = self._mask(queries, time_BK[:, visible])
            k_piece, v_piece = k_BKd[:, visible], v_BKd[:, visible]
            gathered.append(attend(q_BTd[:, queries], k_piece, v_piece, heads, mask_BQK))
        return torch.cat(gathered, dim=1)

    def _pieces(self) -> Iterator[tuple[slice, slice]]:
        """Consecutive queries, and the range of keys (cached slots first) that holds all theirs."""
        for start in range(0, len(self.time_T), QUERIES):
            stop = min(start + QUERIES, len(self.time_T))
            # It never falls with time, so the piece's first query looks back the furthest.
            earliest = int(self.first_BT[:, start].min())
            begin = 0 if earliest < 0 else self.slots_read + earliest
            yield slice(start, stop), slice(begin, self.slots_read + stop)

    def _mask(self, queries: slice, time_BK: Tensor) -> Tensor:
        """True where a query may look, `(B, 1, Q, K)`."""
        time_B1K = time_BK.unsqueeze(1)
        after_start = time_B1K >= self.first_BT[:, queries].unsqueeze(2)
        not_ahead = time_B1K <= self.time_T[queries].unsqueeze(1)
        return after_start.logical_and(not_ahead).unsqueeze(1)

    def ring(self, rows_BTd: Tensor, cached_BWd: Tensor) -> Tensor:
        """The ring `(B, W, d)` after the scan: what it wrote, and elsewhere what was cached, or
        zeros where a reset has blanked that.
        """
        time_BW = len(self.time_T) + slot_times(self.count_B, cached_BWd.shape[1])
        world_B1 = torch.arange(len(rows_BTd), device=rows_BTd.device).unsqueeze(1)
        new_BWd = rows_BTd[world_B1, time_BW.clamp(min=0)]
        blanked_BW = self.any_reset_B1 & (time_BW < self.start_BT[:, -1:])
        ring_BWd = torch.where((time_BW >= 0).unsqueeze(2), new_BWd, cached_BWd)
        return ring_BWd.masked_fill(blanked_BW.unsqueeze(2), 0.0)


def slot_times(count_B: Tensor, context: int) -> Tensor:
    """When each slot of a ring was last written, `(B, W)`: −1 is the last of `count_B` inputs.

    A slot not in use has the time it would have been written at, before the first input.
    """
    slot_W = torch.arange(context, device=count_B.device)
    return -1 - (count_B.unsqueeze(1) - 1 - slot_W) % context


def _in_place() -> bool:
    """Whether a step may write into the cache it is given: copying it costs more than the step."""
    return not torch.is_grad_enabled()


def _write(cache_BWd: Tensor, place: tuple[Tensor, Tensor], row_Bd: Tensor) -> Tensor:
    """The cache with one row per world replaced."""
    return (cache_BWd.index_put_ if _in_place() else cache_BWd.index_put)(place, row_Bd)
