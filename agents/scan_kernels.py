"""Triton kernels of the diagonal recurrence, which `agents/triton_scan.py` launches.

A warp owns L = 32 neighbouring channels of one world, one to a thread, and walks along time in
tiles of K rows. All rows of the next tile are on their way while those at hand are worked on. The
layout that a tile (K, 32) gets in one warp leaves time within a thread, so `tl.associative_scan`
becomes the plain recurrence in registers; the products of gates that it would also yield are not
formed where they are not used. With other sizes it is slower, but as right.

B and P are constants of a kernel: the rows of a tile then stand at fixed distances, and their
addresses cost nothing. A complex number is one integer in memory.

Legend: T time, B worlds, P channels; s counts steps as they are met, t is their time; `re` and `im`
are planes of a tile (K, L), and of real numbers one and the same; J rows of a tile of what is known
of chunks (the rows of `lasts` and `adds`). Annotations but `tl.constexpr` mean nothing to Triton.
"""

import triton
import triton.language as tl

# --- numbers ----------------------------------------------------------------------------------


@triton.jit
def _planes(word: tl.tensor, COMPLEX: tl.constexpr, HALF: tl.constexpr) -> tl.tensor:
    """Real and imaginary parts, in float32."""
    if not COMPLEX:
        re = word.to(tl.float32)
        im = re
    elif HALF:  # a bfloat16 is the upper half of a float32
        re = (word << 16).to(tl.float32, bitcast=True)
        im = (word & -65536).to(tl.float32, bitcast=True)
    else:
        re = word.to(tl.int32).to(tl.float32, bitcast=True)
        im = (word >> 32).to(tl.int32).to(tl.float32, bitcast=True)
    return re, im


@triton.jit
def _store(
    pointers: tl.tensor, re: tl.tensor, im: tl.tensor, mask: tl.tensor,
    COMPLEX: tl.constexpr, HALF: tl.constexpr,
) -> None:  # fmt: skip
    """The inverse of `_planes`, into memory."""
    if not COMPLEX:
        tl.store(pointers, re.to(pointers.dtype.element_ty), mask=mask)
    elif HALF:
        low = re.to(tl.bfloat16).to(tl.uint16, bitcast=True).to(tl.uint32)
        high = im.to(tl.bfloat16).to(tl.uint16, bitcast=True).to(tl.uint32)
        tl.store(pointers, (low | (high << 16)).to(tl.int32, bitcast=True), mask=mask)
    else:
        low = re.to(tl.uint32, bitcast=True).to(tl.uint64)
        high = im.to(tl.uint32, bitcast=True).to(tl.uint64)
        tl.store(pointers, (low | (high << 32)).to(tl.int64, bitcast=True), mask=mask)


@triton.jit
def _times(
    a_re: tl.tensor, a_im: tl.tensor, b_re: tl.tensor, b_im: tl.tensor, COMPLEX: tl.constexpr
) -> tl.tensor:
    """The product a b."""
    if COMPLEX:
        re = a_re * b_re - a_im * b_im
        im = a_re * b_im + a_im * b_re
    else:
        re = a_re * b_re
        im = re
    return re, im


@triton.jit
def _then(
    a: tl.tensor, b: tl.tensor, open_0: tl.tensor, c: tl.tensor, d: tl.tensor, open_1: tl.tensor
) -> tl.tensor:
    """Compose x ↦ a x + b with x ↦ c x + d. What is not open lets nothing pass, finite or not."""
    return c * a, tl.where(open_1 != 0, c * b + d, d), open_0 & open_1


@triton.jit
def _then_complex(
    a_re: tl.tensor, a_im: tl.tensor, b_re: tl.tensor, b_im: tl.tensor, open_0: tl.tensor,
    c_re: tl.tensor, c_im: tl.tensor, d_re: tl.tensor, d_im: tl.tensor, open_1: tl.tensor,
) -> tl.tensor:  # fmt: skip
    """`_then` of complex numbers, in as many fused multiply-adds as can be."""
    return (
        c_re * a_re - c_im * a_im,
        c_re * a_im + c_im * a_re,
        tl.where(open_1 != 0, c_re * b_re + (d_re - c_im * b_im), d_re),
        tl.where(open_1 != 0, c_re * b_im + (d_im + c_im * b_re), d_im),
        open_0 & open_1,
    )


# --- tiles ------------------------------------------------------------------------------------


@triton.jit
def _column(P: tl.constexpr, L: tl.constexpr) -> tl.tensor:
    """World, channels, whether they exist, and their place in a row of all worlds' channels."""
    blocks: tl.constexpr = (P + L - 1) // L
    world = tl.program_id(0) // blocks
    channel = (tl.program_id(0) % blocks) * L + tl.arange(0, L)
    # Of one number each: pairs to a thread would leave half of time to other threads.
    place = tl.max_contiguous(world.to(tl.int64) * P + channel, 1)
    inside = channel < P
    if P % L == 0:
        inside = tl.full([L], 1, tl.int1)
    return world, channel, inside, place


@triton.jit
def _at(column: tl.tensor, t: tl.tensor, rows: tl.tensor, width: tl.constexpr) -> tl.tensor:
    """Pointers (K, L) to rows from time t on, or before it where `rows` are negative."""
    start = column + tl.cast(t, tl.int64) * width
    return start[None, :] + rows.to(tl.int64)[:, None] * width


@triton.jit
def _fetch(
    column: tl.tensor, t: tl.tensor, rows: tl.tensor, inside: tl.tensor, begin: tl.tensor,
    end: tl.tensor, width: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Words of a tile's rows from the `begin`-th to before the `end`-th; others hold anything."""
    K: tl.constexpr = rows.shape[0]
    pointers = _at(column, t, rows, width)
    if (begin <= 0) & (end >= K):
        words = tl.load(pointers, mask=inside[None, :])
    else:
        live = (tl.arange(0, K) >= begin) & (tl.arange(0, K) < end)
        words = tl.load(pointers, mask=live[:, None] & inside[None, :])
    return words


@triton.jit
def _opens(
    reset: tl.tensor, world: tl.tensor, t: tl.tensor, rows: tl.tensor, T: tl.tensor,
    B: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Where there is no reset (K). There is one at the first step that time does not have."""
    time = t + rows
    live = (time >= 0) & (time < T)
    return tl.load(reset + time.to(tl.int64) * B + world, mask=live, other=1) == 0


@triton.jit
def _scanned(
    a_re: tl.tensor, a_im: tl.tensor, b_re: tl.tensor, b_im: tl.tensor, opens: tl.tensor,
    x_re: tl.tensor, x_im: tl.tensor, COMPLEX: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """A tile that finds x (L): products of gates since its start, states, and whether x got there.

    What is found goes in with the first row, so that the recurrence alone is left. Gates and where
    they are open may have one row or column for all.
    """
    K: tl.constexpr = b_re.shape[0]
    enters = (tl.arange(0, K) == 0)[:, None] & opens
    p_re, p_im = _times(a_re, a_im, x_re[None, :], x_im[None, :], COMPLEX)
    b_re = tl.where(enters, b_re + p_re, b_re)
    a_re = tl.broadcast_to(a_re, b_re.shape)
    opens = tl.broadcast_to(opens.to(tl.int32), b_re.shape)
    if COMPLEX:
        b_im = tl.where(enters, b_im + p_im, b_im)
        a_im = tl.broadcast_to(a_im, b_re.shape)
        a_re, a_im, b_re, b_im, opens = tl.associative_scan(
            (a_re, a_im, b_re, b_im, opens), 0, _then_complex
        )
    else:
        a_re, b_re, opens = tl.associative_scan((a_re, b_re, opens), 0, _then)
        a_im, b_im = a_re, b_re
    return a_re, a_im, b_re, b_im, opens


@triton.jit
def _row(plane: tl.tensor, index: tl.tensor) -> tl.tensor:
    """One row (L) of a tile."""
    K: tl.constexpr = plane.shape[0]
    return tl.sum(tl.where((tl.arange(0, K) == index)[:, None], plane, 0), axis=0)


@triton.jit
def _left(re: tl.tensor, im: tl.tensor, count: tl.tensor) -> tl.tensor:
    """What the last of a tile's `count` rows leaves; a row known beforehand is a register."""
    K: tl.constexpr = re.shape[0]
    if count >= K:
        x_re, x_im = _row(re, K - 1), _row(im, K - 1)
    else:
        x_re, x_im = _row(re, count - 1), _row(im, count - 1)
    return x_re, x_im


@triton.jit
def _found(
    lasts: tl.tensor, adds: tl.tensor, x_re: tl.tensor, x_im: tl.tensor, inside: tl.tensor,
    COMPLEX: tl.constexpr, J: tl.constexpr, width: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """What this program's chunk finds, if the first one found x; of columns `lasts` and `adds`."""
    chunk = tl.program_id(1)
    rows = tl.arange(0, J)
    for start in range(0, chunk, J):
        count = chunk - start
        a_re, a_im = _planes(_fetch(lasts, start, rows, inside, 0, count, width), COMPLEX, False)
        b_re, b_im = _planes(_fetch(adds, start, rows, inside, 0, count, width), COMPLEX, False)
        opens = (a_re != 0) | (a_im != 0)
        _, _, re, im, _ = _scanned(a_re, a_im, b_re, b_im, opens, x_re, x_im, COMPLEX)
        x_re, x_im = _left(re, im, count)
    return x_re, x_im


# --- kernels ----------------------------------------------------------------------------------


@triton.jit(do_not_specialize=["T", "length"])
def summarise(
    gate: tl.tensor, b: tl.tensor, reset: tl.tensor, lasts: tl.tensor, adds: tl.tensor,
    T: tl.tensor, length: tl.tensor, B: tl.constexpr, P: tl.constexpr, BACKWARD: tl.constexpr,
    VARYING: tl.constexpr, COMPLEX: tl.constexpr, HALF: tl.constexpr, K: tl.constexpr,
    L: tl.constexpr,
) -> None:  # fmt: skip
    """Of each chunk (but the last): how much of what it finds lasts, and what it adds.

    On the way back, what is met at t came through the gate and the reset of t + 1.
    """
    width: tl.constexpr = B * P
    world, channel, inside, place = _column(P, L)
    first = tl.program_id(1) * length
    stop = tl.minimum(first + length, T)
    rows = tl.arange(0, K)
    x_re, x_im = tl.zeros([L], tl.float32), tl.zeros([L], tl.float32)
    lasts_re, lasts_im = tl.full([L], 1.0, tl.float32), tl.zeros([L], tl.float32)
    if not VARYING:
        word = tl.load(gate + channel, mask=inside, other=0)
        fixed_re, fixed_im = _planes(word, COMPLEX, False)
    for s in range(first, stop, K):
        if BACKWARD:
            words = _fetch(b + place, T - 1 - s, -rows, inside, 0, stop - s, width)
            opens = _opens(reset, world, T - s, -rows, T, B)
        else:
            words = _fetch(b + place, s, rows, inside, 0, stop - s, width)
            opens = _opens(reset, world, s, rows, T, B)
        if not VARYING:
            a_re, a_im = fixed_re[None, :], fixed_im[None, :]
        elif BACKWARD:
            gates = _fetch(gate + place, T - s, -rows, inside, 1 - s, stop - s, width)
            a_re, a_im = _planes(gates, COMPLEX, False)
        else:
            gates = _fetch(gate + place, s, rows, inside, 0, stop - s, width)
            a_re, a_im = _planes(gates, COMPLEX, False)
        if BACKWARD:
            a_im = -a_im
        b_re, b_im = _planes(words, COMPLEX, HALF)
        a_re, a_im, b_re, b_im, opens = _scanned(
            a_re, a_im, b_re, b_im, opens[:, None], x_re, x_im, COMPLEX
        )
        x_re, x_im = _left(b_re, b_im, stop - s)
        a_re, a_im = _left(a_re, a_im, stop - s)
        opens, _ = _left(opens, opens, stop - s)
        p_re, p_im = _times(a_re, a_im, lasts_re, lasts_im, COMPLEX)
        lasts_re, lasts_im = tl.where(opens != 0, p_re, 0.0), tl.where(opens != 0, p_im, 0.0)
    at = tl.program_id(1).to(tl.int64) * width + place
    _store(lasts + at, lasts_re, lasts_im, inside, COMPLEX, False)
    _store(adds + at, x_re, x_im, inside, COMPLEX, False)


@triton.jit(do_not_specialize=["T", "length"])
def walk(
    gate: tl.tensor, b: tl.tensor, x0: tl.tensor, reset: tl.tensor, lasts: tl.tensor,
    adds: tl.tensor, x: tl.tensor, T: tl.tensor, length: tl.tensor,
    B: tl.constexpr, P: tl.constexpr, VARYING: tl.constexpr, COMPLEX: tl.constexpr,
    HALF: tl.constexpr, CHUNKED: tl.constexpr, K: tl.constexpr, J: tl.constexpr, L: tl.constexpr,
) -> None:  # fmt: skip
    """Forwards: writes x."""
    width: tl.constexpr = B * P
    world, channel, inside, place = _column(P, L)
    first = tl.program_id(1) * length
    stop = tl.minimum(first + length, T)
    rows = tl.arange(0, K)
    words = _fetch(b + place, first, rows, inside, 0, stop - first, width)
    opens = _opens(reset, world, first, rows, T, B)
    x_re, x_im = _planes(tl.load(x0 + place, mask=inside, other=0), COMPLEX, False)
    if VARYING:
        gates = _fetch(gate + place, first, rows, inside, 0, stop - first, width)
    else:
        word = tl.load(gate + channel, mask=inside, other=0)
        fixed_re, fixed_im = _planes(word, COMPLEX, False)
    if CHUNKED:
        x_re, x_im = _found(lasts + place, adds + place, x_re, x_im, inside, COMPLEX, J, width)
    for s in range(first, stop, K):
        after = s + K
        next_words = _fetch(b + place, after, rows, inside, 0, stop - after, width)
        next_opens = _opens(reset, world, after, rows, T, B)
        if VARYING:
            a_re, a_im = _planes(gates, COMPLEX, False)
            gates = _fetch(gate + place, after, rows, inside, 0, stop - after, width)
        else:
            a_re, a_im = fixed_re[None, :], fixed_im[None, :]
        b_re, b_im = _planes(words, COMPLEX, HALF)
        _, _, re, im, _ = _scanned(a_re, a_im, b_re, b_im, opens[:, None], x_re, x_im, COMPLEX)
        live = (rows < stop - s)[:, None] & inside[None, :]
        _store(_at(x + place, s, rows, width), re, im, live, COMPLEX, False)
        x_re, x_im = _left(re, im, stop - s)
        words, opens = next_words, next_opens


@triton.jit(do_not_specialize=["T", "length"])
def walk_back(
    gate: tl.tensor, g: tl.tensor, x0: tl.tensor, reset: tl.tensor, lasts: tl.tensor,
    adds: tl.tensor, x: tl.tensor, db: tl.tensor, dgate: tl.tensor, dx0: tl.tensor, T: tl.tensor,
    length: tl.tensor, B: tl.constexpr, P: tl.constexpr, VARYING: tl.constexpr,
    COMPLEX: tl.constexpr, HALF: tl.constexpr, CHUNKED: tl.constexpr, K: tl.constexpr,
    J: tl.constexpr, L: tl.constexpr,
) -> None:  # fmt: skip
    """Backwards, from the gradient g that arrives at x: all gradients.

    That of a fixed gate is this chunk's and world's share of it, `(C, B, P)`.
    """
    width: tl.constexpr = B * P
    world, channel, inside, place = _column(P, L)
    first = tl.program_id(1) * length
    stop = tl.minimum(first + length, T)
    rows = tl.arange(0, K)
    t = T - 1 - first
    words = _fetch(g + place, t, -rows, inside, 0, stop - first, width)
    past = _fetch(x + place, t - 1, -rows, inside, 0, tl.minimum(stop, T - 1) - first, width)
    opens = _opens(reset, world, t + 1, -rows, T, B)
    G_re, G_im = tl.zeros([L], tl.float32), tl.zeros([L], tl.float32)
    if VARYING:
        gates = _fetch(gate + place, t + 1, -rows, inside, 1 - first, stop - first, width)
    else:
        word = tl.load(gate + channel, mask=inside, other=0)
        fixed_re, fixed_im = _planes(word, COMPLEX, False)
        sum_re, sum_im = tl.zeros([L], tl.float32), tl.zeros([L], tl.float32)
    if CHUNKED:
        G_re, G_im = _found(lasts + place, adds + place, G_re, G_im, inside, COMPLEX, J, width)
    for s in range(first, stop, K):
        t = T - 1 - s
        after = s + K
        next_words = _fetch(g + place, t - K, -rows, inside, 0, stop - after, width)
        next_past = _fetch(
            x + place, t - 1 - K, -rows, inside, 0, tl.minimum(stop, T - 1) - after, width
        )
        next_opens = _opens(reset, world, t + 1 - K, -rows, T, B)
        # Of what x was before each step; before the first it was x0, which is left to the end.
        kept = _opens(reset, world, t, -rows, T, B) & (t - rows > 0)
        if VARYING:
            a_re, a_im = _planes(gates, COMPLEX, False)
            gates = _fetch(gate + place, t + 1 - K, -rows, inside, 0, stop - after, width)
        else:
            a_re, a_im = fixed_re[None, :], fixed_im[None, :]
        g_re, g_im = _planes(words, COMPLEX, False)
        _, _, re, im, _ = _scanned(a_re, -a_im, g_re, g_im, opens[:, None], G_re, G_im, COMPLEX)
        live = (rows < stop - s)[:, None] & inside[None, :]
        _store(_at(db + place, t, -rows, width), re, im, live, COMPLEX, HALF)
        past_re, past_im = _planes(past, COMPLEX, False)
        p_re, p_im = _times(past_re, -past_im, re, im, COMPLEX)
        p_re, p_im = tl.where(kept[:, None], p_re, 0.0), tl.where(kept[:, None], p_im, 0.0)
        if VARYING:
            _store(_at(dgate + place, t, -rows, width), p_re, p_im, live, COMPLEX, False)
        else:
            sum_re += tl.sum(p_re, axis=0)
            sum_im += tl.sum(p_im, axis=0)
        G_re, G_im = _left(re, im, stop - s)
        words, past, opens = next_words, next_past, next_opens
    # Of the first step, which the last chunk met: what it found was x0.
    begins = channel < tl.where(stop == T, P, 0)
    open_0 = begins & (tl.load(reset + world) == 0)
    x0_re, x0_im = _planes(tl.load(x0 + place, mask=begins, other=0), COMPLEX, False)
    p_re, p_im = _times(x0_re, -x0_im, G_re, G_im, COMPLEX)
    p_re, p_im = tl.where(open_0, p_re, 0.0), tl.where(open_0, p_im, 0.0)
    if VARYING:
        tl.debug_barrier()  # the loop has written zeros there
        _store(dgate + place, p_re, p_im, begins, COMPLEX, False)
        word = tl.load(gate + place, mask=begins, other=0)
        fixed_re, fixed_im = _planes(word, COMPLEX, False)
    else:
        at = tl.program_id(1).to(tl.int64) * width + place
        _store(dgate + at, sum_re + p_re, sum_im + p_im, inside, COMPLEX, False)
    d_re, d_im = _times(fixed_re, -fixed_im, G_re, G_im, COMPLEX)
    d_re, d_im = tl.where(open_0, d_re, 0.0), tl.where(open_0, d_im, 0.0)
    _store(dx0 + place, d_re, d_im, begins, COMPLEX, False)
