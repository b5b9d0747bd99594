"""Our bodies are Gymnasium's: the same state and actions give the same bits."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

from quickstudy.envs import rng
from quickstudy.envs.batch_engine import BatchEngine, load_model
from quickstudy.envs.headless import mujoco
from quickstudy.envs.registry import make_family

GYMNASIUM_ASSETS = Path(gymnasium.__file__).parent / "envs/mujoco/assets"
NUM_STEPS = 300


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Gymnasium's half_cheetah.xml makes MuJoCo write a log into the working directory."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(name="cheetah")
def _cheetah():
    env = gymnasium.make("HalfCheetah-v5").unwrapped
    env.reset(seed=0)
    yield env
    env.close()


def random_actions(num_controls):
    """`(NUM_STEPS, num_controls)` float32 in [-1, 1]."""
    keys = rng.world_keys(1, rng.Stream.ACTION, NUM_STEPS)
    return (2.0 * rng.uniform(keys, num_controls) - 1.0).to(torch.float32)


def test_half_cheetah_is_bit_equal_to_gymnasiums_over_300_control_steps(cheetah):
    engine = BatchEngine(load_model("half_cheetah.xml"), 2, substeps=5)
    qpos, qvel = engine.data["qpos"], engine.data["qvel"]
    qpos[:], qvel[:] = torch.from_numpy(cheetah.data.qpos), torch.from_numpy(cheetah.data.qvel)
    for step, action in enumerate(random_actions(6)):
        engine.data["ctrl"].copy_(action.expand(2, 6))
        engine.step()
        cheetah.step(action.numpy())
        for world in range(2):
            np.testing.assert_array_equal(qpos[world].numpy(), cheetah.data.qpos, f"step {step}")
            np.testing.assert_array_equal(qvel[world].numpy(), cheetah.data.qvel, f"step {step}")


def test_half_cheetah_observation_and_speed_are_gymnasiums(cheetah):
    """HalfCheetahDir forwards earns v5's forward reward, with half its control cost (0.1)."""
    family = make_family("HalfCheetahDir", 1)
    everywhere = torch.ones(1, dtype=torch.bool)
    family.reset(everywhere, torch.ones(1, 1, dtype=torch.float64), torch.zeros(1).long())
    cheetah.set_state(
        family.engine.data["qpos"][0].numpy().copy(), family.engine.data["qvel"][0].numpy().copy()
    )
    for action in random_actions(6)[:50]:
        outcome = family.step(action.unsqueeze(0))
        observation, _, _, _, info = cheetah.step(action.numpy())
        np.testing.assert_array_equal(family.observe()[0].numpy(), observation.astype(np.float32))
        assert float(outcome.reward_terms["run"]) == info["x_velocity"]
        assert float(outcome.reward_terms["control"]) == pytest.approx(
            info["reward_ctrl"] / 2, rel=1e-6
        )


def test_ant_with_gymnasiums_integrator_and_cone_is_bit_equal_to_its_ant():
    ours = load_model("ant.xml")
    ours.opt.integrator = mujoco.mjtIntegrator.mjINT_RK4
    ours.opt.cone = mujoco.mjtCone.mjCONE_PYRAMIDAL
    theirs = mujoco.MjModel.from_xml_path(str(GYMNASIUM_ASSETS / "ant.xml"))
    models = (ours, theirs)
    datas = [mujoco.MjData(model) for model in models]
    noise = rng.uniform(rng.world_keys(0, rng.Stream.EPISODE, 2), 15).numpy() - 0.5
    touched = 0
    for step, action in enumerate(random_actions(8).numpy()):
        for model, data in zip(models, datas, strict=True):
            if step == 0:
                data.qpos[:] += 0.2 * noise[0]
                data.qvel[:] = noise[1, :14]
            data.ctrl[:] = action
            mujoco.mj_step(model, data, 5)
        touched += datas[0].ncon > 0
        np.testing.assert_array_equal(datas[0].qpos, datas[1].qpos, f"step {step}")
        np.testing.assert_array_equal(datas[0].qvel, datas[1].qvel, f"step {step}")
    assert touched > 100  # it walked on the floor, not through the air


def test_reset_noise_is_gymnasiums(cheetah):
    """qpos0 + U(-0.1, 0.1) and 0.1 N(0, 1), as v5's reset_noise_scale = 0.1 says."""
    assert cheetah._reset_noise_scale == 0.1
    family = make_family("HalfCheetahDir", 4000)
    everywhere = torch.ones(4000, dtype=torch.bool)
    family.reset(everywhere, torch.ones(4000, 1).double(), rng.world_keys(0, rng.Stream(2), 4000))
    offset = family.engine.data["qpos"] - torch.from_numpy(cheetah.init_qpos)
    assert float(offset.abs().max()) <= 0.1
    # Standard errors: 0.0003 and 0.0004 (36 000 draws each).
    assert float(offset.mean()) == pytest.approx(0.0, abs=0.002)
    assert float(offset.std()) == pytest.approx(0.2 / 12**0.5, abs=0.002)
    qvel = family.engine.data["qvel"]
    assert float(qvel.mean()) == pytest.approx(0.0, abs=0.003)
    assert float(qvel.std()) == pytest.approx(0.1, abs=0.002)
