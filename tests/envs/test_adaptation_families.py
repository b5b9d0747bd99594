"""Families that demand adaptation: rewards by hand, borders within reach, Gymnasium's reacher."""

import math

import gymnasium
import numpy as np
import pytest
import torch

from quickstudy.envs import rng
from quickstudy.envs.families.reacher import REACH
from quickstudy.envs.families.reacher_goal_sparse import ReacherGoalSparse
from quickstudy.envs.families.wind import Wind
from quickstudy.envs.headless import mujoco
from quickstudy.envs.registry import make_family

ELBOW_AT_RIGHT_ANGLE = (0.0, math.pi / 2)
"""Shoulder and elbow angles that put the fingertip at (0.1, 0.11)."""


def start(name, tasks, seed=0):
    """A family at the start of an episode on these tasks, rows of parameters."""
    task_ND = torch.tensor(tasks, dtype=torch.float64)
    family = make_family(name, len(task_ND))
    everywhere = torch.ones(len(task_ND), dtype=torch.bool)
    family.reset(everywhere, task_ND, rng.world_keys(seed, rng.Stream.EPISODE, len(task_ND)))
    return family


def random_actions(num_steps, num_actions):
    keys = rng.world_keys(2, rng.Stream.ACTION, num_steps)
    return (2.0 * rng.uniform(keys, num_actions) - 1.0).to(torch.float32)


# --- HalfCheetahDirSparse ---------------------------------------------------------------------

GAITS = {
    "forwards": (3.5, 0.42, [2.57, 3.87, 1.72, 4.76, 4.82, 3.81]),
    "backwards": (4.0, 0.54, [1.81, 2.71, 2.91, 5.19, 0.81, 1.37]),
}
"""Open-loop gaits found by random search: beats per second, torque, and phases by joint."""


def test_running_pays_only_five_metres_from_the_start():
    """Physics stands still but for a jump of 0.1 m: speed 0.1 / 0.05 = 2 m/s, here |x| after it."""
    family = start("HalfCheetahDirSparse", [[1.0], [1.0], [-1.0], [1.0], [-1.0]])
    family._simulate = lambda action: family._x_N.add_(0.1)
    family._x_N.copy_(torch.tensor([4.8, 4.9, 7.0, -6.0, -5.05]))
    terms = family.step(torch.full((5, 6), 0.5)).reward_terms
    # |x| = 4.9: silent; 5.0: +2; 7.1, told to go back: −2; −5.9: +2; −4.95: silent again.
    assert terms["run"].tolist() == pytest.approx([0.0, 2.0, -2.0, 2.0, 0.0])
    assert terms["control"].tolist() == pytest.approx([-0.05 * 6 * 0.25] * 5)


def test_far_out_it_is_half_cheetah_dir():
    directions = [[1.0], [-1.0], [1.0], [-1.0]]
    sparse, dense = start("HalfCheetahDirSparse", directions), start("HalfCheetahDir", directions)
    for family in (sparse, dense):
        family._x_N.add_(torch.tensor([9.0, 9.0, -9.0, -9.0]))
    for action_4A in random_actions(20, 6).view(5, 4, 6):
        rewards = [family.step(action_4A).reward for family in (sparse, dense)]
        assert torch.equal(*rewards)
        assert torch.equal(sparse.observe()[:, 1:], dense.observe())
        assert torch.equal(sparse.observe()[:, 0], sparse._x_N.float())


@pytest.mark.parametrize("way", GAITS)
def test_a_simple_gait_crosses_the_border_within_an_episode(way):
    """From all of 16 noisy starts; and then the two tasks pay opposite rewards."""
    beats, torque, phases = GAITS[way]
    family = start("HalfCheetahDirSparse", [[1.0], [-1.0]] * 8)
    run_N = torch.zeros(16, dtype=torch.float64)
    for step in range(200):
        angle_A = 2 * math.pi * beats * 0.05 * step + torch.tensor(phases)
        run_N += family.step(torque * angle_A.sin().sign().expand(16, 6)).reward_terms["run"]
    ahead_N = family._x_N if way == "forwards" else -family._x_N
    assert float(ahead_N.min()) > 5.0
    sign = 1.0 if way == "forwards" else -1.0
    assert bool((sign * run_N[0::2] > 10.0).all())
    assert bool((sign * run_N[1::2] < -10.0).all())


def test_random_actions_hardly_ever_reach_the_border():
    """In under one episode of ten (0.8 %, counted over 2000)."""
    family = start("HalfCheetahDirSparse", [[1.0]] * 64)
    crossed = torch.zeros(64, dtype=torch.bool)
    for action_NA in random_actions(64 * 200, 6).view(200, 64, 6):
        crossed |= family.step(action_NA).reward_terms["run"] != 0
    assert int(crossed.sum()) <= 6


# --- Wind -------------------------------------------------------------------------------------


def test_the_wind_is_added_to_every_move():
    """(0, 0) + 0.1 (1, −0.5) + (0.02, −0.08) = (0.12, −0.13); a second time twice that."""
    family = start("Wind", [[0.02, -0.08]])
    for times in (1, 2):
        family.step(torch.tensor([[1.0, -0.5]]))
        expected = [0.12 * times, -0.13 * times]
        assert family.observe()[0].tolist() == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(("y", "reward"), [(0.96, 0.0), (0.971, 1.0), (1.029, 1.0), (1.04, 0.0)])
def test_the_goal_of_the_wind_is_three_centimetres_wide(y, reward):
    family = start("Wind", [[0.0, 0.05]])
    family._position_N2 = torch.tensor([[0.0, y - 0.05]], dtype=torch.float64)
    assert float(family.step(torch.zeros(1, 2)).reward) == reward


def play_expert(winds, believed):
    """Returns of one episode of 75 steps."""
    family = start("Wind", winds)
    belief_ND = torch.tensor(believed, dtype=torch.float64).expand(len(winds), 2)
    steps = [family.step(family.expert_action(belief_ND)).reward for _ in range(75)]
    return torch.stack(steps).sum(dim=0).tolist()


@pytest.mark.parametrize(
    ("wind", "moves"),
    # At 0.1 m per step and axis: the move that ends within 0.03 m of (0, 1) is the last. From
    # ahead 0.97 / (0.1 − 0.08) = 48.5; none 9.7; from behind 0.97 / 0.18 = 5.4.
    [
        ((0.0, -0.08), 49),
        ((0.0, 0.0), 10),
        ((0.0, 0.08), 6),
        ((0.08, 0.08), 6),
        ((-0.08, -0.08), 49),
    ],
)
def test_whoever_knows_the_wind_reaches_the_goal_and_stays(wind, moves):
    assert play_expert([wind], wind) == [75 - moves + 1]


def test_whoever_ignores_the_wind_comes_to_rest_beside_the_goal():
    """Where the pull is the wind's: the wind's strength (0.05 m) from the goal."""
    assert play_expert([(0.0, -0.05), (0.05, 0.0)], (0.0, 0.0)) == [0.0, 0.0]


def test_ood_winds_are_stronger_than_any_in_training_and_can_be_stood_against():
    space = Wind.task_space
    norms = {s: space.listing(s, 2000, seed=0).norm(dim=1) for s in space.splits}
    assert float(norms["ood"].min()) >= 0.08 * math.sqrt(2) >= float(norms["train"].max())
    ood = space.listing("ood", 50, seed=0)
    family = make_family("Wind", 50)
    family.reset(torch.ones(50, dtype=torch.bool), ood, rng.world_keys(0, rng.Stream.EPISODE, 50))
    for _ in range(75):
        reward_N = family.step(family.expert_action(ood)).reward
    assert bool((reward_N == 1.0).all())


# --- reacher ----------------------------------------------------------------------------------


@pytest.fixture(name="gymnasiums")
def _gymnasiums():
    env = gymnasium.make("Reacher-v5").unwrapped
    env.reset(seed=0)
    yield env
    env.close()


def test_the_arm_is_gymnasiums_bit_for_bit(gymnasiums):
    """Positions, velocities, observation and control cost over 300 steps; it meets its stop."""
    family = start("ReacherGoal", [[0.0, 0.5]])
    data = family.engine.data
    goal = family._goal(family.task_ND)[0].numpy()
    gymnasiums.set_state(
        np.concatenate([data["qpos"][0].numpy(), goal]),
        np.concatenate([data["qvel"][0].numpy(), [0.0, 0.0]]),
    )
    stopped = 0
    for step, noise in enumerate(random_actions(300, 2)):
        # Pushes of a fifth, with a long bend of the elbow into its limit.
        action = 0.2 * noise + torch.tensor([0.0, 0.1 if step < 150 else 0.0])
        outcome = family.step(action.unsqueeze(0))
        seen, _, _, _, info = gymnasiums.step(action.numpy())
        theirs = gymnasiums.data
        np.testing.assert_array_equal(data["qpos"][0].numpy(), theirs.qpos[:2], f"step {step}")
        np.testing.assert_array_equal(data["qvel"][0].numpy(), theirs.qvel[:2], f"step {step}")
        stopped += theirs.nefc > 0
        np.testing.assert_array_equal(
            family.observe()[0, :6].numpy(), seen[[0, 1, 2, 3, 6, 7]].astype(np.float32)
        )
        control = float(outcome.reward_terms["control"])
        assert control == pytest.approx(info["reward_ctrl"], rel=1e-6)
        # Gymnasium's distance is a substep old: it agrees once positions are computed afresh.
        mujoco.mj_kinematics(gymnasiums.model, theirs)
        tip, target = (gymnasiums.get_body_com(name) for name in ("fingertip", "target"))
        expected = -np.linalg.norm((tip - target)[:2])
        assert float(outcome.reward_terms["distance"]) == pytest.approx(expected, abs=1e-12)
        assert family.observe()[0, 6:].tolist() == pytest.approx(tip[:2].tolist(), abs=1e-7)
    assert stopped > 10


def test_reacher_starts_as_gymnasiums():
    """Angles U(−0.1, 0.1), velocities U(−0.005, 0.005); standard error of the spreads 0.5 %."""
    family = start("ReacherGoal", [[0.0, 0.5]] * 8000)
    for name, bound in (("qpos", 0.1), ("qvel", 0.005)):
        values = family.engine.data[name]
        assert float(values.abs().max()) <= bound
        assert float(values.std()) == pytest.approx(bound / math.sqrt(3), rel=0.02)
        assert float(values.mean()) == pytest.approx(0.0, abs=0.03 * bound)


def freeze(family, angles):
    """Physics stands still with the arm at these angles."""
    family._simulate = lambda action: family._qpos_NQ.copy_(torch.tensor(angles).double())


def test_reacher_goal_pays_minus_the_distance_after_the_step():
    """Fingertip at (0.1, 0.11); goals at 0.2 √0.25 = 0.1 m along x, and at the shoulder."""
    family = start("ReacherGoal", [[0.0, 0.25], [2.0, 0.0]])
    freeze(family, ELBOW_AT_RIGHT_ANGLE)
    terms = family.step(torch.tensor([[0.5, -1.0], [0.0, 0.0]])).reward_terms
    assert terms["distance"].tolist() == pytest.approx([-0.11, -math.hypot(0.1, 0.11)], abs=1e-7)
    assert terms["control"].tolist() == pytest.approx([-1.25, 0.0])


def test_the_sparse_reacher_pays_within_nine_centimetres():
    """Fingertip stretched out along x, at 0.21 m."""
    beside = 2 * math.asin(0.1 / 2 / 0.21)  # a chord of 0.1 m at radius 0.21
    family = start("ReacherGoalSparse", [[0.0, 0.2], [0.0, 0.25], [beside, 0.21], [math.pi, 0.2]])
    freeze(family, (0.0, 0.0))
    terms = family.step(torch.zeros(4, 2)).reward_terms
    # Distances 0.01, 0.04, 0.1 and 0.41 m.
    assert terms["goal"].tolist() == pytest.approx([0.19, 0.16, 0.0, 0.0], abs=1e-7)


def test_training_goals_are_uniform_over_the_disc():
    """A quarter of the area lies within half of the radius (standard error 0.007)."""
    tasks = make_family("ReacherGoal", 1).task_space.listing("train", 4000, seed=0)
    goals = make_family("ReacherGoal", 1)._goal(tasks)
    radius = goals.norm(dim=1)
    assert float(radius.max()) <= 0.2
    assert float((radius < 0.1).double().mean()) == pytest.approx(0.25, abs=0.03)
    assert float((goals[:, 0] > 0).double().mean()) == pytest.approx(0.5, abs=0.05)


def test_every_sparse_goal_can_be_earned_from_and_none_at_the_start():
    space = ReacherGoalSparse.task_space
    for split in space.splits:
        radius = space.listing(split, 500, seed=0)[:, 1]
        assert float((radius - REACH).abs().max()) < ReacherGoalSparse.goal_radius
    upward = start("ReacherGoalSparse", [[math.pi / 2, 0.2]] * 64)
    assert float(upward.step(torch.zeros(64, 2)).reward.abs().max()) == 0.0


def test_a_gentle_sweep_finds_every_sparse_goal_within_an_episode():
    """A constant torque of a tenth on the shoulder; goals all along the half circle."""
    angles = torch.linspace(0.0, math.pi, 32).tolist()
    family = start("ReacherGoalSparse", [[angle, 0.22] for angle in angles])
    found = torch.zeros(32, dtype=torch.bool)
    for _ in range(50):
        found |= family.step(torch.tensor([[0.1, 0.0]] * 32)).reward_terms["goal"] > 0
    assert bool(found.all())
