"""What the attention memories share: heads, rotary positions, where each stretch of inputs began.

Shape legend: T time, B worlds, N anything, Q queries, K keys, d features of a token, h heads,
p = d/h features of a head.
"""

import torch
from torch import Tensor
from torch.nn import functional

ROTARY_BASE = 10_000.0


def attend(
    q_NQd: Tensor,
    k_NKd: Tensor,
    v_NKd: Tensor,
    heads: int,
    mask: Tensor | None = None,
    *,
    causal: bool = False,
) -> Tensor:
    """Scaled dot-product attention in `heads` heads (Vaswani et al. 2017), `(N, Q, d)`.

    Args:
        q_NQd: queries.
        k_NKd: keys.
        v_NKd: values.
        heads: parts into which d is cut.
        mask: bool, broadcast to `(N, h, Q, K)`: True where a query may look. None: everywhere.
        causal: query i looks at keys 0 … i only; instead of a mask.
    """
    q_NhQp, k_NhKp, v_NhKp = (_split(x, heads) for x in (q_NQd, k_NKd, v_NKd))
    y_NhQp = functional.scaled_dot_product_attention(
        q_NhQp, k_NhKp, v_NhKp, attn_mask=mask, is_causal=causal
    )
    return y_NhQp.transpose(1, 2).flatten(2)


def _split(x_NKd: Tensor, heads: int) -> Tensor:
    """Each head's share, `(N, h, K, p)`."""
    return x_NKd.view(*x_NKd.shape[:2], heads, -1).transpose(1, 2)


def rotation(position_N: Tensor, head_size: int, dtype: torch.dtype) -> Tensor:
    """The turns of rotary positions (Su et al. 2021, eq. 15), complex of shape `(N, 1, p/2)`.

    Pair i of a head's features is turned by position · base^(−2i/p) radians, an angle formed in
    float64: in float32 it would be wrong in the third digit after 10⁵ inputs.
    """
    pair = torch.arange(head_size // 2, dtype=torch.float64, device=position_N.device)
    angle = position_N[..., None, None] * ROTARY_BASE ** (-2.0 * pair / head_size)
    return torch.polar(torch.ones_like(angle), angle).to(dtype.to_complex())


def rotate(x_Nd: Tensor, turns: Tensor) -> Tensor:
    """Queries or keys `(N, d)` turned by `rotation(...)`, so that products see distances alone."""
    pairs = torch.view_as_complex(x_Nd.view(*x_Nd.shape[:-1], -1, turns.shape[-1], 2))
    return torch.view_as_real(pairs * turns).flatten(-3)


def stretch_starts(reset_TB: Tensor, count_B: Tensor) -> Tensor:
    """For each step, the step `(T, B)` at which what it may remember began.

    That is the last reset, or, before any, minus the `count_B` inputs read so far.
    """
    t_T1 = torch.arange(len(reset_TB), device=reset_TB.device).unsqueeze(1)
    return torch.where(reset_TB, t_T1, -count_B).cummax(dim=0).values
