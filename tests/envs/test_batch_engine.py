"""The CPU engine against plain MuJoCo, one world at a time."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from quickstudy.envs import rng
from quickstudy.envs.batch_engine import ASSETS, BatchEngine, load_model
from quickstudy.envs.headless import mujoco

FILES = {path.name: path.read_text() for path in ASSETS.glob("*.xml")}
INCLUDED = {name for text in FILES.values() for name in re.findall(r'<include file="(.+?)"', text)}
MODELS = sorted(FILES.keys() - INCLUDED)
SUBSTEPS = 5
SPARSE = """<mujoco><option jacobian="sparse"/><worldbody><body><freejoint/><geom size="1"/></body>
</worldbody></mujoco>"""


def controls(step, num_worlds, num_controls):
    """Torques in [-1, 1], a pure function of step and world."""
    keys = rng.fold_in(rng.world_keys(0, rng.Stream.ACTION, num_worlds), step)
    return 2.0 * rng.uniform(keys, num_controls) - 1.0


def make_engine(file, num_worlds=3, num_threads=None):
    """An engine whose worlds start in different states."""
    engine = BatchEngine(load_model(file), num_worlds, SUBSTEPS, num_threads=num_threads)
    _ = engine.data["xpos"]  # derived fields are computed from the first call after this on
    qvel = engine.data["qvel"]
    qvel += rng.normal(rng.world_keys(0, rng.Stream.EPISODE, num_worlds), qvel.shape[1])
    return engine


def advance(engine, num_steps, first=0):
    """Step under `controls`; returns qpos and qvel after each step, `(num_steps, N, ·)`."""
    rows = []
    for step in range(first, first + num_steps):
        engine.data["ctrl"].copy_(controls(step, *engine.data["ctrl"].shape))
        engine.step()
        rows.append(torch.cat([engine.data["qpos"], engine.data["qvel"]], dim=1))
    return torch.stack(rows)


@pytest.fixture(params=MODELS, name="file")
def _file(request):
    return request.param


def test_every_world_is_bit_equal_to_a_plain_mj_step_loop(file):
    engine = make_engine(file)
    model = load_model(file)
    plain = [mujoco.MjData(model) for _ in range(engine.num_worlds)]
    for world, data in enumerate(plain):
        data.qvel[:] = engine.data["qvel"][world].numpy()
    for step in range(100):
        ctrl = controls(step, engine.num_worlds, model.nu)
        engine.data["ctrl"].copy_(ctrl)
        engine.step()
        for world, data in enumerate(plain):
            data.ctrl[:] = ctrl[world].numpy()
            mujoco.mj_step(model, data, SUBSTEPS)
            for field in ("qpos", "qvel", "qacc_warmstart", "xpos", "time"):
                np.testing.assert_array_equal(
                    engine.data[field][world].numpy(), getattr(data, field), f"{field} at {step}"
                )


def test_the_number_of_threads_changes_no_bit(file):
    runs = [advance(make_engine(file, 7, threads), 40) for threads in (1, 2, 5)]
    assert torch.equal(runs[0], runs[1])
    assert torch.equal(runs[0], runs[2])


def test_the_number_of_worlds_changes_no_bit_of_world_i(file):
    few, many = advance(make_engine(file, 2), 40), advance(make_engine(file, 9), 40)
    assert torch.equal(few, many[:, :2])


def test_attributes_describe_the_worlds(file):
    engine = make_engine(file, 4)
    assert (engine.num_worlds, engine.substeps) == (4, SUBSTEPS)
    assert engine.dt == pytest.approx(SUBSTEPS * load_model(file).opt.timestep)
    assert (engine.device.type, engine.dtype) == ("cpu", torch.float64)
    assert engine.diverged.shape == (4,)
    assert engine.diverged.dtype == torch.bool


def test_state_dict_continues_bit_for_bit_in_another_engine(file):
    engine = make_engine(file, 5, num_threads=1)
    advance(engine, 30)
    state = engine.state_dict()
    expected = advance(engine, 30, first=30)

    resumed = BatchEngine(load_model(file), 5, SUBSTEPS, num_threads=2)
    resumed.load_state_dict(state)
    assert torch.equal(advance(resumed, 30, first=30), expected)


@pytest.mark.parametrize("file", ["ant.xml", "half_cheetah.xml"])  # what touches the ground
def test_state_dict_includes_the_solver_warm_start(file):
    """Without it the trajectory differs, so a resumed run would not be the same run."""
    engine = make_engine(file)
    advance(engine, 30)
    state = engine.state_dict()
    assert bool((engine.data["qacc_warmstart"] != 0).any())
    expected = advance(engine, 30, first=30)
    engine.load_state_dict(state)
    engine.data["qacc_warmstart"].zero_()
    assert not torch.equal(advance(engine, 30, first=30), expected)


def test_state_dict_is_a_copy(file):
    engine = make_engine(file)
    state = engine.state_dict()
    before = {key: value.clone() for key, value in state.items()}
    advance(engine, 3)
    assert all(torch.equal(state[key], before[key]) for key in before)


def test_reset_restores_the_defaults_where_masked_and_nowhere_else(file):
    engine = make_engine(file, 4)
    advance(engine, 20)
    before = {k: engine.data[k].clone() for k in ("qpos", "qvel", "qacc_warmstart", "time")}
    engine.reset(torch.tensor([False, True, False, True]))
    for field, rows in before.items():
        assert torch.equal(engine.data[field][[0, 2]], rows[[0, 2]])
        assert not torch.equal(engine.data[field][[1, 3]], rows[[1, 3]])
    fresh = mujoco.MjData(engine.mjmodel)
    np.testing.assert_array_equal(engine.data["qpos"][1].numpy(), fresh.qpos)
    for field in ("qvel", "qacc_warmstart", "time"):
        assert float(engine.data[field][[1, 3]].abs().sum()) == 0.0


def test_a_reset_world_forgets_its_past_and_its_neighbours_go_on(file):
    """World 1 repeats its first steps bit for bit; worlds 0 and 2 never notice."""
    first = advance(make_engine(file), 20)
    engine, undisturbed = make_engine(file), make_engine(file)
    advance(engine, 20)
    advance(undisturbed, 20)
    engine.reset(torch.tensor([False, True, False]))
    engine.data["qvel"][1] = make_engine(file).data["qvel"][1]
    again, expected = advance(engine, 20), advance(undisturbed, 20)
    assert torch.equal(again[:, 1], first[:, 1])
    assert torch.equal(again[:, [0, 2]], expected[:, [0, 2]])


def test_forward_recomputes_derived_fields_where_masked(file):
    engine = make_engine(file)
    engine.forward(torch.ones(3, dtype=torch.bool))
    xpos = engine.data["xpos"].clone()
    engine.data["qpos"][:, 0] += 1.0  # a metre or a radian
    engine.forward(torch.tensor([False, True, False]))
    moved = engine.data["xpos"] - xpos
    assert float(moved[[0, 2]].abs().max()) == 0.0
    assert float(moved[1].abs().max()) > 0.05
    np.testing.assert_array_equal(engine.data["xpos"][1].numpy(), engine.mjdata(1).xpos)


@pytest.mark.parametrize("field", ["qpos", "qvel"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e11])
def test_divergence_is_flagged_in_its_world_for_one_step(file, field, value):
    engine, healthy = make_engine(file, 4), make_engine(file, 4)
    advance(engine, 2)
    advance(healthy, 2)
    assert not bool(engine.diverged.any())
    engine.data[field][2, 1] = value
    rows, expected = advance(engine, 1), advance(healthy, 1)
    assert engine.diverged.tolist() == [False, False, True, False]
    assert bool(rows.isfinite().all())  # MuJoCo has put the world back to its defaults
    others = [0, 1, 3]
    assert torch.equal(rows[:, others], expected[:, others])
    assert torch.equal(advance(engine, 3)[:, others], advance(healthy, 3)[:, others])
    assert not bool(engine.diverged.any())


def test_an_earlier_diverged_mask_is_not_changed_by_later_steps(file):
    """A caller may keep the mask of a step."""
    engine = make_engine(file)
    engine.data["qvel"][0] = float("nan")
    advance(engine, 1)
    kept = engine.diverged
    advance(engine, 1)
    assert kept.tolist() == [True, False, False]


def test_divergence_leaves_no_log_file(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    engine = make_engine(file)
    engine.data["qvel"][0] = float("nan")
    advance(engine, 1)
    assert bool(engine.diverged[0])
    assert list(tmp_path.iterdir()) == []


def test_a_sparse_model_is_refused_and_the_message_says_what_to_write(tmp_path):
    file = tmp_path / "sparse.xml"
    file.write_text(SPARSE)
    with pytest.raises(ValueError, match=r'sparse.xml: set <option jacobian="dense"/>'):
        load_model(file)


def test_every_asset_is_dense(file):
    assert not mujoco.mj_isSparse(load_model(file))


def test_loading_an_asset_prints_nothing_and_leaves_no_file(file, tmp_path):
    code = f"from quickstudy.envs.batch_engine import load_model; load_model({file!r})"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_a_mass_changes_the_dynamics_of_its_world_alone(file):
    base = advance(make_engine(file), 20)
    engine = make_engine(file)
    engine.model["body_mass"][1] *= 1.5
    engine.model["body_inertia"][1] *= 1.5
    engine.set_const(torch.tensor([False, True, False]))
    changed = advance(engine, 20)
    assert torch.equal(changed[:, [0, 2]], base[:, [0, 2]])
    assert not torch.equal(changed[:, 1], base[:, 1])


def test_a_per_world_mass_with_set_const_equals_a_model_of_that_mass(file):
    """Including what MuJoCo derives from the mass, such as body_invweight0."""
    engine = make_engine(file, 2)
    engine.model["body_mass"][1] *= 1.5
    engine.model["body_inertia"][1] *= 1.5
    engine.set_const(torch.tensor([False, True]))

    model = load_model(file)
    model.body_mass[:] *= 1.5
    model.body_inertia[:] *= 1.5
    mujoco.mj_setConst(model, mujoco.MjData(model))
    heavy = BatchEngine(model, 2, SUBSTEPS)
    heavy.data["qvel"].copy_(engine.data["qvel"])
    assert torch.equal(advance(engine, 40)[:, 1], advance(heavy, 40)[:, 1])


def test_looking_at_a_world_does_not_disturb_it(file):
    """`mjdata` hands a renderer a copy with derived fields computed."""
    engine, unseen = make_engine(file), make_engine(file)
    for start in range(0, 20, 5):
        assert torch.equal(advance(engine, 5, start), advance(unseen, 5, start))
        seen = engine.mjdata(1)
        np.testing.assert_array_equal(seen.qpos, engine.data["qpos"][1].numpy())
        plain = mujoco.MjData(engine.mjmodel)
        plain.qpos[:] = seen.qpos
        mujoco.mj_kinematics(engine.mjmodel, plain)
        np.testing.assert_array_equal(seen.xpos, plain.xpos)


def test_data_tensors_are_live_views_bound_once(file):
    engine = make_engine(file)
    qpos = engine.data["qpos"]
    assert engine.data["qpos"] is qpos
    before = qpos.clone()
    advance(engine, 1)
    assert not torch.equal(qpos, before)
    assert "qpos" in set(engine.data)
    assert len(engine.data) == len(set(engine.data))
