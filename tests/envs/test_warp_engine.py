"""The GPU engine, on Warp's CPU device: the same kernels, captured and replayed as on a GPU.

What it computes is compared with C MuJoCo in `tests/parity/test_warp_physics.py`.
"""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from quickstudy.envs import rng
from quickstudy.envs.batch_engine import ASSETS, BatchEngine, load_model
from quickstudy.envs.devices import find_device
from quickstudy.envs.engine import Capacity
from quickstudy.envs.headless import mujoco

pytest.importorskip("mujoco_warp", reason="needs the extra: pip install 'quickstudy[gpu]'")

from quickstudy.envs.warp.capacity import overflow_message, probe  # isort: skip
from quickstudy.envs.warp.package import wp  # isort: skip
from quickstudy.envs.warp_engine import DERIVED, WarpEngine  # isort: skip

NUM_WORLDS = 8
SUBSTEPS = 2
FIELDS = ("body_mass", "body_inertia", "geom_pos")
EVERY = torch.ones(NUM_WORLDS, dtype=torch.bool)
SOME = torch.arange(NUM_WORLDS) % 3 == 1
FLOOR = 0


def make_engine(capacity=None):
    model = load_model("half_cheetah.xml")
    device = find_device("warp-cpu")
    return WarpEngine(model, NUM_WORLDS, SUBSTEPS, device, fields=FIELDS, capacity=capacity)


@pytest.fixture(scope="module", name="shared")
def _shared():
    """One engine for all tests: making one takes seconds. Two positions are looked at."""
    engine = make_engine()
    _ = engine.data["xpos"], engine.data["ncon"]
    base = {name: engine.model[name].clone() for name in FIELDS}
    return engine, base


@pytest.fixture(name="engine")
def _engine(shared):
    """The engine with its worlds moving, each in its own way, and touching the ground."""
    engine, base = shared
    for name, values in base.items():
        engine.model[name].copy_(values)
    engine.set_const(EVERY)
    engine.reset(EVERY)
    engine._overflow_N.zero_()
    qvel = engine.data["qvel"]
    qvel += rng.normal(rng.world_keys(0, rng.Stream.EPISODE, NUM_WORLDS), qvel.shape[1])
    advance(engine, 10)
    assert int(engine.data["ncon"].max()) > 1
    return engine


def controls(step, num_controls):
    keys = rng.fold_in(rng.world_keys(0, rng.Stream.ACTION, NUM_WORLDS), step)
    return 2.0 * rng.uniform(keys, num_controls) - 1.0


def advance(engine, num_steps, first=0):
    """Step under `controls`; returns qpos and qvel after each step, `(num_steps, N, ·)`."""
    rows = []
    for step in range(first, first + num_steps):
        engine.data["ctrl"].copy_(controls(step, engine.mjmodel.nu))
        engine.step()
        rows.append(torch.cat([engine.data["qpos"], engine.data["qvel"]], dim=1))
    return torch.stack(rows)


def seen(engine):
    """State and looked-at fields, by name."""
    return {name: field.clone() for name, field in engine.data.items()}


def assert_same(fields, others, rows=EVERY):
    for name, field in fields.items():
        assert torch.equal(field[rows], others[name][rows]), name


def test_attributes_describe_the_worlds(engine):
    assert (engine.num_worlds, engine.substeps) == (NUM_WORLDS, SUBSTEPS)
    assert engine.dt == pytest.approx(SUBSTEPS * 0.01)
    assert (engine.device.type, engine.dtype) == ("cpu", torch.float32)
    assert (engine.diverged.shape, engine.diverged.dtype) == ((NUM_WORLDS,), torch.bool)
    assert engine.data["qpos"].dtype == torch.float32
    assert engine.data["xpos"].shape == (NUM_WORLDS, engine.mjmodel.nbody, 3)


def test_tensors_are_live_views_of_warps_arrays(engine):
    assert engine.data["qpos"] is engine.data["qpos"]
    assert engine.data["qpos"].data_ptr() == engine._data.qpos.ptr
    assert engine.model["body_mass"].data_ptr() == engine._model.body_mass.ptr
    before = engine.data["qpos"].clone()
    engine.step()
    assert not torch.equal(engine.data["qpos"], before)


@pytest.mark.parametrize("graph", ["_step", "_reset", "_forward", "_set_const"])
def test_a_replayed_graph_does_what_its_kernels_do(engine, graph):
    engine._mask_N.copy_(SOME)
    engine.model["body_mass"][:, 1:] *= 1.0 + 0.1 * torch.arange(NUM_WORLDS).unsqueeze(1)
    state, replay = engine.state_dict(), getattr(engine, graph)
    results = []
    for run in (replay, replay._kernels):
        engine.load_state_dict(state)
        run()
        results.append(seen(engine) | {"invweight": wp.to_torch(engine._model.body_invweight0) + 0})
    assert_same(*results)
    moved = [name for name in results[0] if name in state]
    if graph in ("_step", "_reset"):
        assert any(not torch.equal(results[0][name], state[name]) for name in moved)


def test_reset_restores_the_defaults_where_masked_and_nowhere_else(engine):
    before = seen(engine)
    engine.reset(SOME)
    assert_same(engine.data, before, ~SOME)
    fresh = mujoco.MjData(engine.mjmodel)
    for name in ("qpos", "qvel", "qacc_warmstart", "ctrl"):
        expected = torch.from_numpy(getattr(fresh, name)).float().expand(int(SOME.sum()), -1)
        assert torch.equal(engine.data[name][SOME], expected), name
    assert float(engine.data["time"][SOME].abs().max()) == 0.0


def test_a_masked_step_freezes_the_other_worlds(engine):
    state, before = engine.state_dict(), seen(engine)
    engine.step()
    everywhere = seen(engine)
    engine.load_state_dict(state)
    engine.data["xpos"].copy_(before["xpos"])
    engine.data["ncon"].copy_(before["ncon"])
    engine.step(SOME)
    assert_same(engine.data, everywhere, SOME)
    assert_same(engine.data, before, ~SOME)
    assert not torch.equal(everywhere["xpos"], before["xpos"])


def test_forward_recomputes_derived_fields_where_masked_and_keeps_the_state(engine):
    engine.forward(EVERY)
    before = seen(engine)
    engine.data["qpos"][:, 0] += 1.0  # metres, along x
    state = engine.state_dict()
    engine.forward(SOME)
    assert_same(engine.state_dict(), state)
    moved = (engine.data["xpos"] - before["xpos"])[:, 1:, 0]
    torch.testing.assert_close(moved[SOME], torch.ones_like(moved[SOME]), rtol=0.0, atol=1e-6)
    assert float(moved[~SOME].abs().max()) == 0.0


def test_contacts_are_counted_as_in_c(engine):
    engine.forward(EVERY)
    expected = [engine.mjdata(world).ncon for world in range(NUM_WORLDS)]
    assert engine.data["ncon"].tolist() == expected
    assert max(expected) > min(expected) or max(expected) > 1


def test_state_dict_continues_bit_for_bit(engine):
    state = engine.state_dict()
    expected = advance(engine, 10, first=30)
    engine.reset(EVERY)
    engine.load_state_dict(state)
    assert torch.equal(advance(engine, 10, first=30), expected)
    engine.load_state_dict(state)
    engine.data["qacc_warmstart"].zero_()  # without the solver's start it is another trajectory
    assert not torch.equal(advance(engine, 10, first=30), expected)


def test_state_dict_is_a_copy(engine):
    state = engine.state_dict()
    before = {name: values.clone() for name, values in state.items()}
    engine.step()
    assert_same(state, before)


def test_states_move_between_the_engines(engine):
    cpu = BatchEngine(engine.mjmodel, NUM_WORLDS, SUBSTEPS)
    cpu.load_state_dict(engine.state_dict())
    for name in ("qpos", "qvel", "qacc_warmstart", "ctrl", "time"):
        assert torch.equal(cpu.data[name].float(), engine.data[name]), name
    advance(cpu, 3)
    engine.load_state_dict(cpu.state_dict())
    for name in ("qpos", "qvel", "qacc_warmstart", "ctrl", "time"):
        assert torch.equal(engine.data[name], cpu.data[name].float()), name


# --- divergence -------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["qpos", "qvel"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e11])
def test_divergence_is_flagged_in_its_world_for_one_step(engine, field, value):
    state = engine.state_dict()
    expected = advance(engine, 4)
    engine.load_state_dict(state)
    assert not bool(engine.diverged.any())
    engine.data[field][2, 1] = value
    rows = advance(engine, 1)
    kept = engine.diverged
    assert kept.tolist() == [world == 2 for world in range(NUM_WORLDS)]
    rows = torch.cat([rows, advance(engine, 3, first=1)])
    assert not bool(engine.diverged.any())
    assert bool(kept[2])  # a caller may keep the mask of a step
    assert bool(rows.isfinite().all())  # the world has started afresh
    others = torch.arange(NUM_WORLDS) != 2
    assert torch.equal(rows[:, others], expected[:, others])


def test_a_world_that_diverges_within_a_step_is_healed_in_it(engine):
    """A velocity of 10⁹ rad/s is none that MuJoCo refuses, but no step survives it."""
    engine.data["qvel"][5] = 1e9
    engine.step()
    assert bool(engine.diverged[5])
    assert torch.equal(engine.data["qvel"][5], torch.zeros(9))
    assert torch.equal(engine.data["qpos"][5].double(), torch.from_numpy(engine.mjmodel.qpos0))


def test_a_control_that_is_no_number_counts_as_none(engine):
    """As in C MuJoCo, which says so in a warning of another kind than divergence."""
    state = engine.state_dict()
    results = []
    for value in (0.0, float("nan")):
        engine.load_state_dict(state)
        engine.data["ctrl"][3] = value
        engine.step()
        results.append(seen(engine))
    assert_same(*results)
    assert not bool(engine.diverged.any())


# --- capacity ---------------------------------------------------------------------------------


def test_measured_capacity_suffices(engine):
    advance(engine, 60)
    engine.check_capacity()


def test_too_little_room_is_an_error_that_names_the_setting():
    # As many constraints as ever: another number would be another minute of compiling.
    engine = make_engine(Capacity(1, probe(load_model("half_cheetah.xml")).constraints))
    engine.check_capacity()
    engine.data["qpos"][:, 1] -= 0.2  # into the ground
    engine.step()
    engine.reset(EVERY)  # forgets the contacts, not that some were dropped
    with pytest.raises(RuntimeError, match=r"8 of 8 worlds.*contacts \(now 1 per world\)"):
        engine.check_capacity()


def test_the_message_names_what_is_tight_and_nothing_else():
    """Bits: 1 rows of constraints, 4 near pairs, 512 the solver's last iteration (no matter)."""
    capacity = Capacity(contacts=20, constraints=30)
    assert overflow_message(np.array([0, 512]), capacity) is None
    rows = overflow_message(np.array([1, 512, 513]), capacity)
    assert "2 of 3 worlds" in rows
    assert "Raise constraints (now 30 per world):" in rows
    both = overflow_message(np.array([1, 4]), capacity)
    assert "constraints (now 30 per world) and contacts (now 20 per world)" in both


# --- models of each world's own, and MuJoCo Warp's traps ----------------------------------------


def heavier():
    """The half-cheetah with masses and inertias 1.5 times as large, compiled on its own."""
    model = load_model("half_cheetah.xml")
    model.body_mass[:] *= 1.5
    model.body_inertia[:] *= 1.5
    mujoco.mj_setConst(model, mujoco.MjData(model))
    return model


def test_derived_fields_are_each_worlds_own(engine):
    """MuJoCo Warp's first trap: an array of one row would take world 0's value for all."""
    engine.model["body_mass"][1] *= 1.5
    engine.model["body_inertia"][1] *= 1.5
    engine.set_const(EVERY)
    compiled = {0: engine.mjmodel, 1: heavier(), 7: engine.mjmodel}
    for name in DERIVED:
        rows = wp.to_torch(getattr(engine._model, name))
        assert len(rows) == NUM_WORLDS, name
        for world, model in compiled.items():
            expected = torch.from_numpy(np.asarray(getattr(model, name))).float()
            torch.testing.assert_close(
                rows[world].flatten(), expected.flatten(), rtol=1e-4, atol=1e-6, msg=name
            )


def test_a_per_world_mass_equals_a_model_of_that_mass(engine):
    """Over three steps; the constants of world 1 are those of the model compiled for it."""
    engine.model["body_mass"][1] *= 1.5
    engine.model["body_inertia"][1] *= 1.5
    engine.set_const(EVERY)
    engines = [BatchEngine(model, NUM_WORLDS, SUBSTEPS) for model in (engine.mjmodel, heavier())]
    for cpu in engines:
        cpu.load_state_dict(engine.state_dict())
    rows = advance(engine, 3)
    light, heavy = (advance(cpu, 3).float() for cpu in engines)
    others = torch.arange(NUM_WORLDS) != 1
    torch.testing.assert_close(rows[:, 1], heavy[:, 1], rtol=1e-2, atol=2e-2)
    torch.testing.assert_close(rows[:, others], light[:, others], rtol=1e-2, atol=2e-2)
    assert float((heavy[:, 1] - light[:, 1]).abs().max()) > 0.1


def test_set_const_keeps_state_and_what_others_look_at(engine):
    engine.forward(EVERY)
    engine.data["qpos"][:, 0] += 1.0
    before = seen(engine)
    engine.set_const(SOME)
    assert_same(engine.state_dict(), before)
    assert_same(engine.data, before, ~SOME)


def test_a_static_geom_can_stand_elsewhere_in_each_world(engine):
    """The second trap: MuJoCo Warp computes once where geoms are that never move."""
    raised = 0.05 * torch.arange(NUM_WORLDS)
    engine.model["geom_pos"][:, FLOOR, 2] = raised
    engine.set_const(EVERY)
    advance(engine, 2)
    assert torch.equal(engine.data["geom_xpos"][:, FLOOR, 2], raised)
    expected = torch.eye(3).expand(NUM_WORLDS, 3, 3)
    assert torch.equal(engine.data["geom_xmat"][:, FLOOR], expected)
    engine.forward(EVERY)
    assert engine.data["ncon"].tolist() == [engine.mjdata(w).ncon for w in range(NUM_WORLDS)]


def test_bodies_without_a_promise_of_parity_have_the_elliptic_cone():
    """The third: the axes of a capsule's friction differ, which the pyramid's edges feel."""
    promised = {"half_cheetah.xml", "reacher.xml"}
    for file in {path.name for path in ASSETS.glob("*.xml")} - promised:
        assert load_model(file).opt.cone == mujoco.mjtCone.mjCONE_ELLIPTIC, file


def test_no_body_stands_on_a_height_field():
    """The fourth: on one, the contacts of the two engines differ."""
    for path in ASSETS.glob("*.xml"):
        assert load_model(path.name).nhfield == 0, path.name


def test_a_second_engine_compiles_nothing(engine):
    """The fifth: what is compiled (a minute per model) is kept on disk."""
    folder = Path(wp.config.kernel_cache_dir)
    before = sorted(folder.iterdir())
    assert before
    make_engine(engine.capacity)
    assert sorted(folder.iterdir()) == before


def test_a_field_must_be_named_before_it_can_differ(engine):
    with pytest.raises(AssertionError, match="dof_damping is the same in all worlds"):
        _ = engine.model["dof_damping"]


def test_what_warp_lacks_is_named_with_the_alternative():
    model = copy.copy(load_model("half_cheetah.xml"))
    model.opt.solver = mujoco.mjtSolver.mjSOL_PGS
    with pytest.raises(ValueError, match=r"lacks .*mjSOL_PGS.*device 'cpu' has it"):
        WarpEngine(model, 1, 1, find_device("warp-cpu"), capacity=Capacity(1, 1))
    model.opt.solver = mujoco.mjtSolver.mjSOL_NEWTON
    with pytest.raises(ValueError, match="geom_type"):
        WarpEngine(
            *(model, 1, 1, find_device("warp-cpu")), fields=("geom_type",), capacity=Capacity(1, 1)
        )


# --- for a renderer ---------------------------------------------------------------------------


def test_a_worlds_state_and_model_can_be_drawn(engine):
    engine.model["body_mass"][4] *= 2.0
    engine.set_const(EVERY)
    drawn, model = engine.mjdata(4), engine.world_model(4)
    np.testing.assert_allclose(model.body_mass, 2.0 * engine.mjmodel.body_mass, rtol=1e-6)
    np.testing.assert_array_equal(drawn.qpos, engine.data["qpos"][4].double().numpy())
    plain = mujoco.MjData(engine.mjmodel)
    plain.qpos[:] = drawn.qpos
    mujoco.mj_kinematics(engine.mjmodel, plain)
    np.testing.assert_array_equal(drawn.xpos, plain.xpos)


# --- on a GPU ---------------------------------------------------------------------------------

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


@needs_cuda
@pytest.mark.parametrize("graph", ["own", "joined", "side stream"])
def test_the_gpus_steps_are_those_of_the_cpu_device(engine, graph):
    """A graph of its own, one that `torch.cuda.graph` captures, and one on another stream."""
    gpu = WarpEngine(
        engine.mjmodel, NUM_WORLDS, SUBSTEPS, find_device("cuda"), capacity=engine.capacity
    )
    state = engine.state_dict()
    engine.step()
    gpu.load_state_dict(state)
    run = gpu.step
    if graph == "joined":
        captured, pool = torch.cuda.CUDAGraph(), torch.cuda.MemPool()
        with torch.cuda.use_mem_pool(pool), torch.cuda.graph(captured, pool=pool.id):
            gpu.step()
        gpu.load_state_dict(state)
        run = captured.replay
    with torch.cuda.stream(torch.cuda.Stream() if graph == "side stream" else None):
        torch.cuda.synchronize()
        run()
        torch.cuda.synchronize()
    for name in ("qpos", "qvel"):
        torch.testing.assert_close(gpu.data[name].cpu(), engine.data[name], rtol=1e-3, atol=1e-3)
