"""Our control suite is dm_control's, step by step: physics to the bit, observations and rewards."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from quickstudy.envs import rng
from quickstudy.envs.families.dmc_point_mass import random_directions
from quickstudy.envs.registry import make_family
from quickstudy.experiments.benchmarks.dmc_baselines import SUITE_TASKS, load_suite

WORLDS = 2
STEPS = 150


@pytest.fixture(scope="module", name="suite")
def _suite():
    pytest.importorskip("dm_control", reason="pip install 'quickstudy[dmc]'")
    return load_suite()


def put(family, env, world):
    """Put dm_control's environment where our world is."""
    drawn, physics = family._drawn, env.physics
    env.reset()  # its own start; what follows replaces it
    with physics.reset_context():
        physics.data.qpos[:] = family.engine.data["qpos"][world].numpy()
        physics.data.qvel[:] = family.engine.data["qvel"][world].numpy()
        if "target" in drawn and physics.model.name == "finger":
            hinge = physics.named.data.xanchor["hinge", ["x", "z"]]
            place = hinge + drawn["target"][world].numpy()
            physics.named.model.site_pos["target", ["x", "z"]] = place
        elif "target" in drawn:
            place = drawn["target"][world].numpy()
            physics.named.model.geom_pos["target", ["x", "y"]] = place
        if "directions" in drawn:
            physics.model.wrap_prm[:] = drawn["directions"][world].flatten().numpy()


def observed(env):
    parts = env.task.get_observation(env.physics).values()
    return np.concatenate([np.atleast_1d(part) for part in parts])


def actions(size):
    """Held for ten steps, so that bodies get far."""
    keys = rng.world_keys(4, rng.Stream.ACTION, STEPS)
    noise = (2.5 * rng.uniform(keys, WORLDS * size) - 1.25).clamp(-1, 1)
    return noise[torch.arange(STEPS) // 10 * 10].view(STEPS, WORLDS, size).float()


@pytest.fixture(params=SUITE_TASKS, name="pair")
def _pair(request, suite):
    name = request.param
    family = make_family(name, WORLDS)
    everywhere = torch.ones(WORLDS, dtype=torch.bool)
    keys = rng.world_keys(2, rng.Stream.EPISODE, WORLDS)
    family.reset(everywhere, torch.zeros(WORLDS, 1).double(), keys)
    envs = [suite.load(*SUITE_TASKS[name], task_kwargs={"random": 0}) for _ in range(WORLDS)]
    for world, env in enumerate(envs):
        put(family, env, world)
    return name, family, envs


def test_every_step_is_dm_controls(pair):
    name, family, envs = pair
    # Directions are turned in the controls, not in the model: another order of additions.
    exact = {"rtol": 0.0, "atol": 1e-9 if name == "DMCPointMassHard" else 0.0}
    close = {"rtol": 1e-12, "atol": 1e-9 if name == "DMCPointMassHard" else 1e-12}
    np.testing.assert_allclose(family._observe(), [observed(env) for env in envs], **close)
    for action in actions(family.action_space.shape[0]):
        outcome = family.step(action)
        steps = [env.step(row) for env, row in zip(envs, action.double().numpy(), strict=True)]
        for field in ("qpos", "qvel"):
            theirs = [getattr(env.physics.data, field) for env in envs]
            np.testing.assert_allclose(family.engine.data[field], theirs, **exact)
        np.testing.assert_allclose(family._observe(), [observed(env) for env in envs], **close)
        np.testing.assert_allclose(outcome.reward, [step.reward for step in steps], **close)
        assert not bool(outcome.terminated.any())


def test_the_control_step_and_the_length_of_an_episode_are_dm_controls(pair):
    _, family, envs = pair
    assert family.engine.dt == pytest.approx(envs[0].control_timestep())
    assert envs[0]._step_limit == pytest.approx(1000)
    assert family.render_fps == pytest.approx(1 / envs[0].control_timestep())
    assert family.observation_space.shape == observed(envs[0]).shape


def moments(rows):
    """Mean and mean square of each column."""
    rows = np.asarray(rows)
    return np.concatenate([rows.mean(axis=0), np.square(rows).mean(axis=0)])


@pytest.mark.parametrize("name", SUITE_TASKS)
def test_starts_are_distributed_as_dm_controls(name, suite):
    """First observations: 4000 of ours, 1500 of theirs; means and mean squares within 5 errors."""
    env = suite.load(*SUITE_TASKS[name], task_kwargs={"random": 1})
    theirs = np.array([_first(env) for _ in range(1500)])
    family = make_family(name, 4000)
    keys = rng.world_keys(5, rng.Stream.EPISODE, 4000)
    family.reset(torch.ones(4000, dtype=torch.bool), torch.zeros(4000, 1).double(), keys)
    assert int((family.engine.data["ncon"] > 0).sum()) == 0
    ours = family._observe().numpy()
    spread = np.concatenate([theirs.std(axis=0), np.square(theirs).std(axis=0)])
    error = spread * np.sqrt(1 / 1500 + 1 / 4000)
    assert (np.abs(moments(ours) - moments(theirs)) <= 5 * error + 1e-12).all()


def _first(env):
    env.reset()
    return observed(env)


def test_random_directions_are_distributed_as_dm_controls(suite):
    """The angle between the two motors: uniform where |cosine| ≤ 0.9; redrawn in theirs."""
    env = suite.load("point_mass", "hard", task_kwargs={"random": 1})
    theirs = []
    for _ in range(1500):
        env.reset()
        theirs.append(env.physics.model.wrap_prm[:4].copy())
    theirs = np.array(theirs).reshape(-1, 2, 2)
    ours = random_directions(rng.world_keys(0, rng.Stream.EPISODE, 4000)).numpy()
    for rows in (ours, theirs):
        np.testing.assert_allclose(np.square(rows).sum(axis=2), 1.0)
        assert np.abs((rows[:, 0] * rows[:, 1]).sum(axis=1)).max() <= 0.9 + 1e-12
    features = [
        np.stack(
            [
                (rows[:, 0] * rows[:, 1]).sum(axis=1),
                rows[:, 0, 0],
                rows[:, 0, 1],
                rows[:, 1, 0],
                rows[:, 0, 0] * rows[:, 1, 1] - rows[:, 0, 1] * rows[:, 1, 0],
            ],
            axis=1,
        )
        for rows in (ours, theirs)
    ]
    spread = np.concatenate([features[1].std(axis=0), np.square(features[1]).std(axis=0)])
    error = spread * np.sqrt(1 / 1500 + 1 / 4000)
    assert (np.abs(moments(features[0]) - moments(features[1])) <= 5 * error).all()


@pytest.mark.usefixtures("suite")
def test_dm_control_itself_is_never_imported():
    """Only its XML is read: its bindings do not know MuJoCo 4."""
    code = (
        "import sys\nfrom quickstudy.envs.registry import make_family\n"
        "make_family('DMCFingerSpin', 1)\nassert 'dm_control' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
