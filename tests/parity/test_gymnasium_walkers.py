"""Our walker and hopper are Gymnasium's, once its solver options are put back."""

import gymnasium
import numpy as np
import pytest
import torch

from quickstudy.envs import mujoco_family, rng
from quickstudy.envs.batch_engine import load_model
from quickstudy.envs.headless import mujoco
from quickstudy.envs.registry import family_class, make_family

NUM_STEPS = 200
TWINS = {
    "WalkerVel": "Walker2d-v5",
    "Walker2dRandParams": "Walker2d-v5",
    "HopperRandParams": "Hopper-v5",
}
LOOKS = {"geom_rgba", "geom_size", "geom_matid"}
"""Fields of our geoms that differ: colours, and the size of the drawn floor."""


def as_gymnasium(file):
    """The model with Gymnasium's integrator, cone and timestep."""
    model = load_model(file)
    model.opt.integrator = mujoco.mjtIntegrator.mjINT_RK4
    model.opt.cone = mujoco.mjtCone.mjCONE_PYRAMIDAL
    model.opt.timestep = 0.002
    return model


@pytest.fixture(params=TWINS, name="name")
def _name(request):
    return request.param


@pytest.fixture(name="theirs")
def _theirs(name):
    env = gymnasium.make(TWINS[name]).unwrapped
    env.reset(seed=0)
    yield env
    env.close()


@pytest.fixture(name="ours")
def _ours(name, theirs, monkeypatch):
    """One world on the ordinary body, in their state."""
    monkeypatch.setattr(mujoco_family, "load_model", as_gymnasium)
    family = make_family(name, 1)
    everywhere = torch.ones(1, dtype=torch.bool)
    family.reset(everywhere, torch.zeros_like(family.task_ND), torch.zeros(1).long())
    family.engine.data["qpos"][0] = torch.from_numpy(theirs.data.qpos)
    family.engine.data["qvel"][0] = torch.from_numpy(theirs.data.qvel)
    return family


def random_actions(num_controls):
    """`(NUM_STEPS, num_controls)` float32 in [-1, 1]."""
    keys = rng.world_keys(1, rng.Stream.ACTION, NUM_STEPS)
    return (2.0 * rng.uniform(keys, num_controls) - 1.0).to(torch.float32)


def test_physics_observation_reward_and_end_are_gymnasiums_bit_for_bit(name, ours, theirs):
    """Its healthy reward is ours except where an episode ends; there it pays nothing."""
    assert theirs.frame_skip == ours.substeps
    touched, ended = 0, []
    for action in random_actions(ours.action_space.shape[0]):
        outcome = ours.step(action.unsqueeze(0))
        observation, _, terminated, _, info = theirs.step(action.numpy())
        np.testing.assert_array_equal(ours.engine.data["qpos"][0].numpy(), theirs.data.qpos)
        np.testing.assert_array_equal(ours.engine.data["qvel"][0].numpy(), theirs.data.qvel)
        np.testing.assert_array_equal(ours.observe()[0].numpy(), observation.astype(np.float32))
        assert bool(outcome.terminated) == terminated
        terms = {term: float(value) for term, value in outcome.reward_terms.items()}
        velocity = -terms["speed"] if name == "WalkerVel" else terms["run"]
        expected = abs(info["x_velocity"]) if name == "WalkerVel" else info["x_velocity"]
        assert velocity == expected
        assert terms["control"] == pytest.approx(info["reward_ctrl"], rel=1e-6)
        touched += theirs.data.ncon > 0
        ended.append(terminated)
    assert touched > 50
    assert not ended[0]
    assert ended[-1]  # it stood, and fell


def test_every_field_of_the_body_is_gymnasiums(name, theirs):
    """Whatever MuJoCo keeps of geoms, bodies, joints, degrees of freedom and motors."""
    ours = load_model(family_class(name).model_file)
    compared = 0
    for field in dir(ours):
        of_body = field.startswith(("geom_", "body_", "jnt_", "dof_", "actuator_", "qpos"))
        if of_body and isinstance(getattr(ours, field), np.ndarray) and field not in LOOKS:
            np.testing.assert_array_equal(getattr(ours, field), getattr(theirs.model, field), field)
            compared += 1
    assert compared > 80
    np.testing.assert_array_equal(ours.geom_size[1:], theirs.model.geom_size[1:])


def test_reset_noise_is_gymnasiums(name, theirs):
    """The rest pose and zero velocity, each plus U(−0.005, 0.005), as reset_noise_scale says."""
    assert theirs._reset_noise_scale == 0.005
    family = make_family(name, 2000)
    everywhere = torch.ones(2000, dtype=torch.bool)
    tasks = torch.zeros_like(family.task_ND)
    family.reset(everywhere, tasks, rng.world_keys(0, rng.Stream.EPISODE, 2000))
    for field, centre in (("qpos", theirs.init_qpos), ("qvel", theirs.init_qvel)):
        offset = family.engine.data[field] - torch.from_numpy(centre)
        assert float(offset.abs().max()) <= 0.005
        # Standard errors: at most 3e-5 and 2e-5 (12 000 draws or more).
        assert float(offset.mean()) == pytest.approx(0.0, abs=1.5e-4)
        assert float(offset.std()) == pytest.approx(0.01 / 12**0.5, abs=1e-4)
    both = torch.cat([family.engine.data["qpos"], family.engine.data["qvel"]], dim=1)
    assert len((both - both.mean(0)).T.round(decimals=12).unique(dim=0)) == both.shape[1]
