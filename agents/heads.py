"""What turns the memory's output into a policy or a value: a plain head and a generated one.

Shape legend: N rows (all leading dimensions as one), M memory features, G given features
(observation, clock), H hidden units, O outputs, P generated parameters, I inputs and J outputs of a
generated layer.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from quickstudy.agents.layers import linear, tanh


class Head(nn.Module):
    """One hidden tanh layer, over features that are learned and others that are given."""

    def __init__(
        self,
        learned: int,
        given: int,
        hidden: int,
        outputs: int,
        generator: torch.Generator,
        *,
        gain: float,
    ) -> None:
        super().__init__()
        self.hidden = linear(learned + given, hidden, generator)
        self.output = linear(hidden, outputs, generator, gain)

    def forward(self, learned: Tensor, given: Tensor) -> Tensor:
        """Outputs `(..., outputs)` for features `(..., learned)` and `(..., given)`.

        As if they were joined, but without the copy, nor a gradient for what is given.
        """
        weight, size = self.hidden.weight, learned.shape[-1]
        hidden = functional.linear(learned, weight[:, :size], self.hidden.bias)
        y: Tensor = self.output(tanh(hidden + functional.linear(given, weight[:, size:])))
        return y


ROWS = 256
"""Rows whose networks exist at a time."""


class HyperHead(nn.Module):
    """A head whose every weight and bias is a linear function of the memory's output.

    The recurrent hypernetwork of Beck et al. 2023, with the Bias-HyperInit of Beck et al. 2022: the
    generating weights begin at zero and the generating biases at an ordinary head's parameters. At
    first the memory is thus without influence, and this is a plain head on what is given alone.

    Each row has a network of its own: P = H (G + 1) + O (H + 1) numbers, made by M P
    multiplications. For HalfCheetah at the default sizes that is 3,334 numbers (13 kB) and 427
    thousand multiplications, twenty times a plain head's. The networks of `ROWS` rows exist at a
    time; for the backward pass only their output layers are kept, O (H + 1) numbers a row, since
    what is given gets no gradient.
    """

    def __init__(
        self,
        learned: int,
        given: int,
        hidden: int,
        outputs: int,
        generator: torch.Generator,
        *,
        gain: float,
    ) -> None:
        super().__init__()
        plain = Head(0, given, hidden, outputs, generator, gain=gain)
        self.hidden = _generating(learned, plain.hidden)
        # A layer of its own: as a view of a larger one, all of that would be kept with it.
        self.output = _generating(learned, plain.output)

    def forward(self, learned: Tensor, given: Tensor) -> Tensor:
        """Outputs `(..., O)` of the networks made from `(..., M)`, for features `(..., G)`."""
        rows_NM, rows_NG = learned.flatten(0, -2), given.flatten(0, -2)
        starts = range(0, len(rows_NM), ROWS)
        y_NO = torch.cat(
            [self._answer(rows_NM[i : i + ROWS], rows_NG[i : i + ROWS]) for i in starts]
        )
        return y_NO.view(*learned.shape[:-1], -1)

    def _answer(self, learned_NM: Tensor, given_NG: Tensor) -> Tensor:
        hidden_NH = tanh(_apply(self.hidden(learned_NM), given_NG))
        return _apply(self.output(learned_NM), hidden_NH)


def _generating(inputs: int, layer: nn.Linear) -> nn.Linear:
    """A map to a layer's weights and biases which at first always gives those of `layer`."""
    parameters = torch.cat([layer.weight.flatten(), layer.bias]).detach()
    generating: nn.Linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]  # torch's
        nn.Linear, inputs, len(parameters)
    )
    nn.init.zeros_(generating.weight)
    with torch.no_grad():
        generating.bias.copy_(parameters)
    return generating


def _apply(layer_NP: Tensor, x_NI: Tensor) -> Tensor:
    """Each row's own affine map, P = J I weights (J rows of I) and J biases, of its own input."""
    outputs = layer_NP.shape[1] // (x_NI.shape[1] + 1)
    weight, bias_NJ = layer_NP.tensor_split([layer_NP.shape[1] - outputs], dim=1)
    weight_NJI = weight.view(len(x_NI), outputs, -1)
    y_NJ1 = torch.baddbmm(bias_NJ.unsqueeze(2), weight_NJI, x_NI.unsqueeze(2))
    return y_NJ1.squeeze(2).to(x_NI.dtype)


HEADS: dict[str, type[Head | HyperHead]] = {"plain": Head, "hypernetwork": HyperHead}
"""Policy heads by name."""
