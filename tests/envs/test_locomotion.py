"""The ants, the humanoid and the legacy observations: rewards by hand, symmetry, falls, parity."""

import math
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

from quickstudy.envs import mujoco_family, rng
from quickstudy.envs.batch_engine import load_model
from quickstudy.envs.families import ant, humanoid_dir
from quickstudy.envs.headless import mujoco
from quickstudy.envs.registry import family_class, make_family

GYMNASIUM_ASSETS = Path(gymnasium.__file__).parent / "envs/mujoco/assets"
FALLING_ANTS = ("AntDir", "AntDir2D", "AntDir1Rad-legacy", "AntVel")
GOALS = ("AntGoal", "AntGoalSparse")
ANY_HEADING = ("AntDir2D", "HumanoidDir")
LEGACY = {"HalfCheetahDir-legacy": "HalfCheetahDir", "HalfCheetahVel-legacy": "HalfCheetahVel"}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Gymnasium's half_cheetah.xml makes MuJoCo write a log into the working directory."""
    monkeypatch.chdir(tmp_path)


def start(name, *tasks, same_start=True):
    """One world per task (a number or a tuple), all from the same initial state."""
    task_ND = torch.tensor(tasks, dtype=torch.float64).view(len(tasks), -1)
    family = make_family(name, len(tasks))
    keys = rng.world_keys(0, rng.Stream.EPISODE, len(tasks))
    keys = keys[:1].expand(len(tasks)) if same_start else keys
    family.reset(torch.ones(len(tasks), dtype=torch.bool), task_ND, keys)
    return family


def random_actions(family, num_steps):
    """`(num_steps, A)` float32 in [-1, 1]."""
    keys = rng.world_keys(1, rng.Stream.ACTION, num_steps)
    return (2.0 * rng.uniform(keys, family.action_space.shape[0]) - 1.0).to(torch.float32)


def step(family, action_A):
    return family.step(action_A.expand(family.num_worlds, -1))


def half_torques(family):
    return torch.full((family.action_space.shape[0],), 0.5)


def listed(terms):
    return {name: term.tolist() for name, term in terms.items()}


# --- rewards worked by hand -------------------------------------------------------------------


def push(family, x, y):
    """Let a step move the worlds' bodies by (x, y) metres, and nothing else."""

    def simulate(action):
        del action
        family.engine.data["qpos"][:, :2] += torch.tensor([x, y], dtype=torch.float64)

    family._simulate = simulate


def test_ant_dir_2d_pays_the_speed_along_the_heading():
    """(0.05, 0.1) m in 0.05 s is (1, 2) m/s; along 0, π/2 and π/4: 1, 2, 3/√2. Σ 0.5² = 2."""
    family = start("AntDir2D", 0.0, math.pi / 2, math.pi / 4)
    push(family, 0.05, 0.1)
    terms = step(family, half_torques(family)).reward_terms
    assert listed(terms) == {
        "run": pytest.approx([1.0, 2.0, 3.0 / math.sqrt(2.0)]),
        "alive": [1.0] * 3,
        "control": [-0.5 * 2.0] * 3,
    }


def test_straight_ahead_earns_54_percent_under_both_tasks_of_ant_dir_1_rad():
    """cos 1 = 0.5403 of 2 m/s."""
    family = start("AntDir1Rad-legacy", -1.0, 1.0)
    push(family, 0.1, 0.0)
    terms = step(family, torch.zeros(8)).reward_terms
    assert terms["run"].tolist() == pytest.approx([2 * 0.5403] * 2, abs=1e-4)


def test_ant_vel_pays_for_the_target_speed():
    """0.1 m in 0.05 s is 2 m/s, whatever y does: 1.5 too fast, right, and 1 too slow."""
    family = start("AntVel", 0.5, 2.0, 3.0)
    push(family, 0.1, 0.7)
    terms = step(family, half_torques(family)).reward_terms
    assert listed(terms) == {
        "speed": pytest.approx([-1.5, 0.0, -1.0]),
        "alive": [3.0] * 3,
        "control": [-0.005 * 2.0] * 3,
    }


def test_standing_still_never_earns_less_than_an_ended_episode_in_ant_vel():
    space = family_class("AntVel").task_space
    family = start("AntVel", *space.listing("train", 50, seed=0)[:, 0].tolist())
    push(family, 0.0, 0.0)
    assert bool((step(family, torch.zeros(8)).reward >= 0).all())


def stand_at(family, x, y):
    family.engine.data["qpos"][:, :2] = torch.tensor([x, y], dtype=torch.float64)
    push(family, 0.0, 0.0)


def test_ant_goal_pays_the_l1_distance():
    """From (0, 2): goals (2, 0), (0, 2) and (−3, 0) are 2 + 2, 0 and 3 + 2 away."""
    family = start("AntGoal", (0.0, 4.0), (math.pi / 2, 4.0), (math.pi, 9.0))
    stand_at(family, 0.0, 2.0)
    terms = step(family, half_torques(family)).reward_terms
    assert listed(terms) == {
        "distance": pytest.approx([-4.0, 0.0, -5.0]),
        "control": pytest.approx([-0.1 * 2.0] * 3),
    }


def test_ant_goal_sparse_pays_within_three_quarters_of_a_metre():
    """From (1, 0): goals at x = 1, 1.74, 1.76 and −1.

    The distances are 0, 0.74, 0.76 and 2.
    """
    family = start("AntGoalSparse", (0.0, 1.0), (0.0, 1.74**2), (0.0, 1.76**2), (math.pi, 1.0))
    stand_at(family, 1.0, 0.0)
    terms = step(family, half_torques(family)).reward_terms
    assert listed(terms) == {
        "goal": pytest.approx([1.0, 0.26, -0.75, -0.75]),
        "control": pytest.approx([-0.01 * 2.0] * 4),
    }


def test_goals_are_uniform_on_the_disc():
    """Half its radius holds a quarter of them; standing in the middle earns −8/π m per step.

    Standard errors at 2000 goals: 0.01 and 0.022.
    """
    space = family_class("AntGoal").task_space
    tasks = space.listing("train", 2000, seed=0)
    assert float((tasks[:, 1] <= 1.5**2).double().mean()) == pytest.approx(0.25, abs=0.03)
    family = start("AntGoal", *tasks.tolist())
    stand_at(family, 0.0, 0.0)
    reward = step(family, torch.zeros(8)).reward.mean()
    assert float(reward) == pytest.approx(-8 / math.pi, abs=0.07)


def test_humanoid_dir_pays_the_speed_of_the_centre_of_mass():
    """(0.015, −0.03) m in 0.015 s is (1, −2) m/s; 1.25 of it along 0 and π/2. Σ 0.5² = 17/4."""
    family = start("HumanoidDir", 0.0, math.pi / 2)
    push(family, 0.015, -0.03)
    family.engine.step = lambda: None
    moved = family._com_N2 + torch.tensor([0.015, -0.03], dtype=torch.float64)
    family._com_N2 = moved
    terms = step(family, half_torques(family)).reward_terms
    assert listed(terms) == {
        "run": pytest.approx([1.25, -2.5]),
        "alive": [5.0] * 2,
        "control": pytest.approx([-0.016 * 17 / 4] * 2),
    }
    assert torch.equal(family._com_before_N2, moved)


# --- symmetry ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ANY_HEADING)
def test_the_opposite_heading_mirrors_what_running_earns(name):
    angles = [0.3, 1.7, 2.9]
    family = start(name, *angles, *(angle + math.pi for angle in angles))
    for action in random_actions(family, 10):
        run = step(family, action).reward_terms["run"]
        torch.testing.assert_close(run[:3], -run[3:])
        assert float(run.abs().max()) > 0.001


def turn(qpos_NQ, qvel_NV, angle):
    """The state turned about the vertical; a free joint's angular velocity is its body's own."""
    cos, sin = math.cos(angle), math.sin(angle)
    rotation = torch.tensor([[cos, sin], [-sin, cos]], dtype=torch.float64)
    half = (math.cos(angle / 2), math.sin(angle / 2))
    w, x, y, z = qpos_NQ[:, 3:7].T
    quat = [half[0] * w - half[1] * z, half[0] * x - half[1] * y]
    quat += [half[0] * y + half[1] * x, half[0] * z + half[1] * w]
    qpos_NQ, qvel_NV = qpos_NQ.clone(), qvel_NV.clone()
    qpos_NQ[:, :2] = qpos_NQ[:, :2] @ rotation
    qpos_NQ[:, 3:7] = torch.stack(quat, dim=1)
    qvel_NV[:, :2] = qvel_NV[:, :2] @ rotation
    return qpos_NQ, qvel_NV


@pytest.mark.parametrize("name", ANY_HEADING)
def test_no_heading_is_easier_than_another(name):
    """The world turned with the heading rewards the same actions alike (elliptic friction)."""
    angle = 2.2
    original, turned = start(name, 0.4), make_family(name, 1)
    initial_state = turned._initial_state
    turned._initial_state = lambda keys: turn(*initial_state(keys), angle)
    task = torch.tensor([[0.4 + angle]], dtype=torch.float64)
    keys = rng.world_keys(0, rng.Stream.EPISODE, 1)
    turned.reset(torch.ones(1, dtype=torch.bool), task, keys)
    touched = False
    for action in random_actions(original, 20):
        expected, reward = (step(family, action).reward for family in (original, turned))
        torch.testing.assert_close(reward, expected, rtol=1e-6, atol=1e-6)
        touched |= original.engine.mjdata(0).ncon > 0
    assert touched


# --- falls ------------------------------------------------------------------------------------


def ended_at(name, heights):
    """Whether episodes end with the torso at these heights (m)."""
    family = start(name, *family_class(name).task_space.listing("train", len(heights), 0).tolist())
    family._simulate = lambda action: None
    family.engine.data["qpos"][:, 2] = torch.tensor(heights, dtype=torch.float64)
    return step(family, torch.zeros(family.action_space.shape[0])).terminated.tolist()


@pytest.mark.parametrize("name", FALLING_ANTS)
def test_an_ant_falls_outside_its_healthy_heights(name):
    assert ant.HEALTHY_HEIGHT == (0.2, 1.0)
    assert ended_at(name, [0.19, 0.2, 0.6, 1.0, 1.01]) == [True, False, False, False, True]


@pytest.mark.parametrize("name", GOALS)
def test_an_ant_with_a_goal_never_falls(name):
    assert ended_at(name, [0.0, 0.19, 0.6, 1.01, 9.0]) == [False] * 5


def test_a_humanoid_falls_outside_its_healthy_heights():
    assert humanoid_dir.HEALTHY_HEIGHT == (1.0, 2.0)
    assert ended_at("HumanoidDir", [0.99, 1.0, 1.4, 2.0, 2.01]) == [True, False, False, False, True]


def test_a_humanoid_that_does_nothing_falls_within_a_second():
    """1 s is 67 steps."""
    family = start("HumanoidDir", *[0.0] * 8, same_start=False)
    fallen = torch.zeros(8, dtype=torch.bool)
    for _ in range(67):
        fallen |= step(family, torch.zeros(17)).terminated
    assert bool(fallen.all())


# --- observations -----------------------------------------------------------------------------


def test_an_ant_with_a_goal_sees_where_it_is():
    family = start("AntGoal", (0.0, 1.0), (1.0, 2.0), same_start=False)
    step(family, random_actions(family, 1)[0])
    seen = torch.cat([family.engine.data["qpos"], family.engine.data["qvel"]], dim=1)
    assert torch.equal(family.observe(), seen.to(torch.float32))
    other = start("AntVel", 0.0, 0.0, same_start=False)
    step(other, random_actions(other, 1)[0])
    assert torch.equal(family.observe()[:, 2:], other.observe())


@pytest.mark.parametrize(("name", "modern"), LEGACY.items())
def test_a_legacy_family_is_the_modern_one_with_three_more_features(name, modern):
    families = start(name, -1.0, 1.0), start(modern, -1.0, 1.0)
    for action in random_actions(families[0], 20):
        outcomes = [step(family, action) for family in families]
        assert torch.equal(families[0].observe()[:, :17], families[1].observe())
        assert listed(outcomes[0].reward_terms) == listed(outcomes[1].reward_terms)
    assert families[0].observe().shape == (2, 20)


@pytest.mark.parametrize("name", LEGACY)
def test_the_legacy_position_is_that_of_mujocos_torso(name):
    """Lagging one physics step after a step, none at an episode's start, as in Gymnasium's body."""
    cheetah = gymnasium.make("HalfCheetah-v5").unwrapped
    family, alone = start(name, 1.0), start(name, 1.0)
    data = family.engine.data
    cheetah.set_state(data["qpos"][0].numpy().copy(), data["qvel"][0].numpy().copy())
    torso = cheetah.data.body("torso").xpos
    np.testing.assert_array_equal(family.observe()[0, 17:].numpy(), torso.astype(np.float32))
    for action in random_actions(family, 50):
        step(family, action)
        cheetah.step(action.numpy())
        seen = family.observe()[0].numpy()
        np.testing.assert_allclose(seen[17:], torso, rtol=1e-6, atol=1e-9)
        np.testing.assert_array_equal(alone.step_one(action.numpy()).observation, seen)
    lag = seen[17] - float(data["qpos"][0, 0])
    assert lag == pytest.approx(-0.01 * float(data["qvel"][0, 0]), rel=1e-3)
    cheetah.close()


@pytest.mark.parametrize("name", [*LEGACY, "HumanoidDir"])
def test_the_state_carries_what_lags(name):
    """From a step before which the other family has seen nothing, or another episode."""
    family, new, used = (start(name, 0.7, 0.7, same_start=False) for _ in range(3))
    actions = random_actions(family, 6)
    for action in actions[:3]:
        step(family, action)
    step(used, actions[5])
    for other in (new, used):
        other.load_state_dict(family.state_dict())
        assert torch.equal(other.observe(), family.observe())
    for action in actions[3:]:
        rewards = [step(each, action).reward for each in (family, new, used)]
        assert torch.equal(rewards[0], rewards[1])
        assert torch.equal(rewards[0], rewards[2])


@pytest.mark.parametrize("name", [*LEGACY, "HumanoidDir"])
def test_a_legacy_step_that_diverges_is_blank(name):
    family = start(name, 0.7, 0.7)
    family.engine.data["qvel"][0] = math.nan
    outcome = step(family, torch.zeros(family.action_space.shape[0]))
    assert outcome.diverged.tolist() == [True, False]
    assert not bool(family.observe()[0].any())
    alone = start(name, 0.7)
    alone.engine.data["qvel"][0] = math.nan
    one = alone.step_one(np.zeros(alone.action_space.shape, np.float32))
    assert one.diverged
    assert one.observation.tolist() == [0.0] * family.observation_space.shape[0]


# --- the humanoid's body is Gymnasium's -------------------------------------------------------

PHYSICS = (
    "body_",
    "jnt_",
    "dof_",
    "geom_",
    "qpos0",
    "qpos_spring",
    "actuator_trn",
    "actuator_bias",
)
LOOKS = ("geom_rgba", "geom_matid", "geom_user", "geom_size")


def gymnasiums_humanoid():
    return mujoco.MjModel.from_xml_path(str(GYMNASIUM_ASSETS / "humanoid.xml"))


def test_the_humanoids_body_is_gymnasiums():
    ours, theirs = load_model("humanoid.xml"), gymnasiums_humanoid()
    names = [n for n in dir(ours) if n.startswith(PHYSICS) and n not in LOOKS]
    assert len(names) > 80
    for name in names:
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), name)
    np.testing.assert_array_equal(ours.geom_size[1:], theirs.geom_size[1:])  # 0 is the floor
    torque = theirs.actuator_gear * theirs.actuator_ctrlrange[:, 1:]
    np.testing.assert_allclose(ours.actuator_gear, torque, rtol=1e-15)
    assert ours.opt.timestep == theirs.opt.timestep


def as_gymnasium_simulates(file):
    """Our model under Gymnasium's integrator, solver and friction cone."""
    model, theirs = load_model(file), gymnasiums_humanoid()
    for option in ("integrator", "solver", "iterations", "cone"):
        setattr(model.opt, option, getattr(theirs.opt, option))
    return model


def test_humanoid_dir_along_x_is_gymnasiums_humanoid(monkeypatch):
    """Observation, terms and fall, step by step, but for the contact forces."""
    monkeypatch.setattr(mujoco_family, "load_model", as_gymnasium_simulates)
    humanoid, family = gymnasium.make("Humanoid-v5").unwrapped, start("HumanoidDir", 0.0)
    assert (family.engine.dt, family.render_fps) == (humanoid.dt, humanoid.metadata["render_fps"])
    data = family.engine.data
    humanoid.set_state(data["qpos"][0].numpy().copy(), data["qvel"][0].numpy().copy())
    fell = False
    for action in random_actions(family, 40):
        outcome = step(family, action)
        observation, _, fell, _, info = humanoid.step(0.4 * action.double().numpy())
        # Our gears are rounded once more than theirs, and contacts enlarge that.
        np.testing.assert_allclose(family.observe()[0].numpy(), observation[:45], atol=1e-5)
        terms = {name: float(term) for name, term in outcome.reward_terms.items()}
        assert terms["run"] == pytest.approx(info["reward_forward"], abs=1e-6)
        assert terms["control"] == pytest.approx(info["reward_ctrl"], rel=1e-6)
        assert bool(outcome.terminated) == fell
        if fell:
            break
        assert terms["alive"] == info["reward_survive"]
    assert fell
    humanoid.close()


def test_humanoid_starts_with_gymnasiums_noise():
    """qpos0 and 0, each with U(−0.01, 0.01)."""
    family = start("HumanoidDir", *[0.0] * 300, same_start=False)
    noise = torch.cat([family._qpos_NQ - family._qpos0_Q, family._qvel_NV], dim=1)
    assert float(noise.abs().max()) <= 0.01
    # Standard errors of 14 100 draws: 0.00005 and 0.00002.
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.0003)
    assert float(noise.std()) == pytest.approx(0.02 / 12**0.5, abs=0.0002)
