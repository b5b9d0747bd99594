"""What MuJoCo Warp does not do itself, as kernels, so that it can be part of a captured graph.

Shape legend: N worlds, Q generalised positions, V generalised velocities, U controls, A actuator
states, G geoms, S geoms that never move, C room for contacts (of all worlds together).
"""

from quickstudy.envs.warp.package import ContactType, wp

MAX_VALUE = wp.constant(1e10)
"""mjMAXVAL: C MuJoCo takes a larger state for a bad one."""

CONSTRAINT = wp.constant(int(ContactType.CONSTRAINT))


@wp.func
def _is_bad(values: wp.array2d[float], world: int) -> bool:
    """Whether a world's row has a value that is too large or no number."""
    for i in range(values.shape[1]):  # noqa: SIM110  kernels know no generators
        if not (wp.abs(values[world, i]) <= MAX_VALUE):  # false for NaN as well
            return True
    return False


@wp.func
def _clear(values: wp.array2d[float], world: int) -> None:
    for i in range(values.shape[1]):
        values[world, i] = 0.0


@wp.kernel(enable_backward=False)
def heal(
    qpos0_1Q: wp.array2d[float],
    time_N: wp.array[float],
    qpos_NQ: wp.array2d[float],
    qvel_NV: wp.array2d[float],
    qacc_NV: wp.array2d[float],
    qacc_warmstart_NV: wp.array2d[float],
    act_NA: wp.array2d[float],
    ctrl_NU: wp.array2d[float],
    overflow_N: wp.array[int],
    diverged_N: wp.array[bool],
) -> None:
    """As C MuJoCo does: bad worlds start afresh and are flagged, bad controls count as none.

    That a bad world had no room for its contacts is no news.
    """
    world = wp.tid()
    if _is_bad(ctrl_NU, world):
        _clear(ctrl_NU, world)
    if _is_bad(qpos_NQ, world) or _is_bad(qvel_NV, world) or _is_bad(qacc_NV, world):
        diverged_N[world] = True
        overflow_N[world] = 0
        time_N[world] = 0.0
        for i in range(qpos_NQ.shape[1]):
            qpos_NQ[world, i] = qpos0_1Q[world % qpos0_1Q.shape[0], i]
        _clear(qvel_NV, world)
        _clear(qacc_NV, world)
        _clear(qacc_warmstart_NV, world)
        _clear(act_NA, world)
        _clear(ctrl_NU, world)


@wp.kernel(enable_backward=False)
def count_contacts(
    num_contacts_1: wp.array[int],
    world_C: wp.array[int],
    type_C: wp.array[int],
    ncon_N: wp.array[int],
) -> None:
    """Contacts of each world; `ncon_N` is zero before."""
    contact = wp.tid()
    if contact < num_contacts_1[0] and (type_C[contact] & CONSTRAINT) != 0:
        wp.atomic_add(ncon_N, world_C[contact], 1)


@wp.kernel(enable_backward=False)
def remember_overflow(overflow_N: wp.array[int], remembered_N: wp.array[int]) -> None:
    """Keep what a reset would clear."""
    world = wp.tid()
    remembered_N[world] = remembered_N[world] | overflow_N[world]


@wp.func
def _matrix(q: wp.quat) -> wp.mat33:
    """Of a rotation in MuJoCo's order: w, x, y, z."""
    w = q[0]
    v = wp.vec3(q[1], q[2], q[3])
    # R = (w² − |v|²) I + 2 v vᵀ + 2 w [v]ₓ
    return (
        (w * w - wp.dot(v, v)) * wp.identity(n=3, dtype=float)
        + 2.0 * wp.outer(v, v)
        + 2.0 * w * wp.skew(v)
    )


@wp.kernel(enable_backward=False)
def place_static_geoms(
    static_S: wp.array[int],
    body_G: wp.array[int],
    pos_NG: wp.array2d[wp.vec3],
    quat_NG: wp.array2d[wp.quat],
    body_xpos_NB: wp.array2d[wp.vec3],
    body_xmat_NB: wp.array2d[wp.mat33],
    geom_xpos_NG: wp.array2d[wp.vec3],
    geom_xmat_NG: wp.array2d[wp.mat33],
) -> None:
    """Where geoms on bodies that never move are: MuJoCo Warp computes it once, for all worlds."""
    world, i = wp.tid()
    geom = static_S[i]
    body = body_G[geom]
    xmat = body_xmat_NB[world, body]
    pos = pos_NG[world % pos_NG.shape[0], geom]
    quat = quat_NG[world % quat_NG.shape[0], geom]
    geom_xpos_NG[world, geom] = body_xpos_NB[world, body] + xmat * pos
    geom_xmat_NG[world, geom] = xmat * _matrix(quat)
