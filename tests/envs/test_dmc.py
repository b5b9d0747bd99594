"""The control suite's rewards worked by hand, its starts, and what is missing without the extra.

That every step is dm_control's: tests/parity/test_dmc.py.
"""

import math

import numpy as np
import pytest
import torch

from quickstudy.envs import rng
from quickstudy.envs.dmc import suite
from quickstudy.envs.dmc.tolerance import gaussian, quadratic, within
from quickstudy.envs.errors import MissingExtraError
from quickstudy.envs.families.dmc_point_mass import random_directions
from quickstudy.envs.registry import FAMILIES, family_class, make_family
from quickstudy.envs.trials import TrialEnv

NAMES = [name for name in FAMILIES if name.startswith("DMC")]


def start(name, num_worlds=2, seed=0):
    family = make_family(name, num_worlds)
    everywhere = torch.ones(num_worlds, dtype=torch.bool)
    keys = rng.world_keys(seed, rng.Stream.EPISODE, num_worlds)
    family.reset(everywhere, torch.zeros(num_worlds, 1).double(), keys)
    return family


def reward_at(family, qpos, qvel=None, action=None):
    """The reward of world 0 in a state; physics stands still."""
    family.engine.step = lambda mask=None: None
    family.engine.data["qpos"][0] = torch.tensor(qpos, dtype=torch.float64)
    zeros = [0.0] * family.engine.data["qvel"].shape[1]
    family.engine.data["qvel"][0] = torch.tensor(qvel or zeros, dtype=torch.float64)
    blank = torch.zeros(family.num_worlds, family.action_space.shape[0])
    blank[0] = torch.tensor(action or 0.0)
    return float(family.step(blank).reward[0])


# --- tolerance --------------------------------------------------------------------------------


def test_the_bell_is_one_inside_and_a_tenth_one_margin_outside():
    """0.1^(d²): at half a margin 0.1^0.25 = 0.5623, at two 0.1⁴."""
    x = torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 5.0], dtype=torch.float64)
    expected = [0.1**0.25, 1.0, 1.0, 1.0, 0.1**0.25, 0.1, 0.1**4]
    assert gaussian(x, 0.0, 1.0, margin=2.0).tolist() == pytest.approx(expected)


def test_the_parabola_is_one_at_rest_and_nought_from_one_on():
    x = torch.tensor([0.0, 0.5, -0.5, 1.0, 3.0])
    assert quadratic(x).tolist() == [1.0, 0.75, 0.75, 0.0, 0.0]


def test_bounds_belong_to_the_inside():
    assert within(torch.tensor([0.9, 1.0, 2.0, 2.1]), 1.0, 2.0).tolist() == [0.0, 1.0, 1.0, 0.0]


# --- rewards worked by hand -------------------------------------------------------------------


def test_cartpole_multiplies_upright_centred_gentle_and_slow():
    family = start("DMCCartpoleBalance")
    assert reward_at(family, [0.0, 0.0]) == 1.0
    assert reward_at(family, [0.0, math.pi]) == pytest.approx(0.0)
    # Level: ½; 2 m off: (1 + 0.1)/2; half the force: (5 − ¼)/5; 5 rad/s: (1 + 0.1)/2.
    worked = 0.5 * 0.55 * 0.95 * 0.55
    assert reward_at(family, [2.0, math.pi / 2], [9.0, 5.0], [0.5]) == pytest.approx(worked)


def test_pendulum_pays_within_eight_degrees():
    family = start("DMCPendulumSwingup")
    angles = [math.radians(a) for a in (0.0, 7.9, -7.9, 8.1, 180.0, 367.0)]
    assert [reward_at(family, [a]) for a in angles] == [1, 1, 1, 0, 0, 1]


def test_acrobot_pays_by_the_distance_of_its_tip_from_the_top():
    """Both links are 1 m, the shoulder is at 2 m, the target at 4 m with a radius of 0.2 m."""
    family = start("DMCAcrobotSwingup")
    assert reward_at(family, [0.0, 0.0]) == 1.0
    assert reward_at(family, [math.pi, 0.0]) == pytest.approx(0.1 ** (3.8**2))
    # Upper arm up, lower arm level: the tip is at (1, 3), √2 from the target.
    assert reward_at(family, [0.0, math.pi / 2]) == pytest.approx(0.1 ** ((2**0.5 - 0.2) ** 2))


@pytest.mark.parametrize(("name", "reach"), [("DMCReacherEasy", 0.06), ("DMCReacherHard", 0.025)])
def test_reacher_pays_where_the_finger_touches_the_target(name, reach):
    """Stretched along x the fingertip is at 0.24 m."""
    family = start(name)
    for offset, reward in ((0.0, 1.0), (reach - 1e-6, 1.0), (reach + 1e-6, 0.0)):
        family._drawn["target"][0] = torch.tensor([0.24, offset])
        assert reward_at(family, [0.0, 0.0]) == reward
    family._drawn["target"][0] = torch.tensor([0.0, 0.24])
    assert reward_at(family, [math.pi / 2, 0.0]) == 1.0
    assert reward_at(family, [0.0, math.pi / 2]) == 0.0  # there it is at (0.12, 0.12)


def test_point_mass_pays_near_the_middle_a_little_less_under_force():
    family = start("DMCPointMassEasy")
    assert reward_at(family, [0.015, 0.0]) == 1.0
    assert reward_at(family, [0.0, -0.03]) == pytest.approx(0.1)  # one radius off its edge
    assert reward_at(family, [0.0, 0.0], action=[1.0, 0.5]) == pytest.approx(1.0 - 0.125)


@pytest.mark.parametrize("x", [0.024, 0.026])
def test_ball_in_cup_pays_with_the_ball_within_25_mm_of_the_middle(x):
    """The middle of the cup is at 0.55 m, the ball's coordinates start at 0.2 m."""
    family = start("DMCBallInCupCatch")
    reward = float(x < 0.025)
    assert reward_at(family, [0.0, 0.0, x, 0.35]) == reward
    assert reward_at(family, [0.0, 0.0, 0.0, 0.35 - x]) == reward
    assert reward_at(family, [0.1, 0.2, 0.1 + x, 0.55]) == reward  # it moves with the cup


def test_finger_spin_pays_from_15_rad_per_second_backwards():
    family = start("DMCFingerSpin")
    speeds = (-15.1, -15.0, -14.9, 15.1)
    assert [reward_at(family, [0, 0, 0], [0, 0, v]) for v in speeds] == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("name", "size"), [("DMCFingerTurnEasy", 0.07), ("DMCFingerTurnHard", 0.03)]
)
def test_finger_turn_pays_with_the_tip_in_the_target(name, size):
    """At angle a the tip is at 0.13 (−sin a, cos a); a chord of 2 · 0.13 · sin(a/2) away from 0."""
    family = start(name)
    family._drawn["target"][0] = torch.tensor([0.0, 0.13])
    angle = 2 * math.asin(size / 0.26)
    angles = (0.0, angle - 1e-6, -angle + 1e-6, angle + 1e-6)
    assert [reward_at(family, [0, 0, a]) for a in angles] == [1, 1, 1, 0]


# --- starts, marks, checkpoints ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["DMCBallInCupCatch", "DMCFingerSpin"])
def test_no_start_is_in_contact_though_single_draws_are(name):
    family = start(name, 500)
    assert int((family.engine.data["ncon"] > 0).sum()) == 0
    qpos, _ = family._initial_state(rng.world_keys(0, rng.Stream.EPISODE, 500))
    family.engine.data["qpos"].copy_(qpos)
    family.engine.forward(torch.ones(500, dtype=torch.bool))
    assert 20 < int((family.engine.data["ncon"] > 0).sum()) < 250


def test_a_start_does_not_depend_on_what_its_neighbours_needed():
    many, few = start("DMCFingerSpin", 64), start("DMCFingerSpin", 7)
    assert torch.equal(many.engine.data["qpos"][:7], few.engine.data["qpos"])


def test_the_directions_of_point_mass_hard_turn_the_force():
    """By the first motor alone: along its direction, 0.1 N on 0.3 kg with damping of 1 N·s/m."""
    family = start("DMCPointMassHard", 20)
    family.engine.data["qpos"].zero_()
    family.step(torch.tensor([[1.0, 0.0]] * 20))
    velocity = family.engine.data["qvel"]
    along = family._drawn["directions"][:, 0]
    speed = velocity.norm(dim=1, keepdim=True)
    torch.testing.assert_close(velocity / speed, along)
    # Euler with implicit damping: m v / dt = F − d v, so v = 0.1 / (0.3/0.02 + 1).
    assert speed[:, 0].tolist() == pytest.approx([0.1 / 16] * 20)


def test_random_directions_are_unit_vectors_that_are_not_too_parallel():
    rows = random_directions(rng.world_keys(0, rng.Stream.EPISODE, 2000))
    torch.testing.assert_close(rows.norm(dim=2), torch.ones(2000, 2).double())
    cosine = (rows[:, 0] * rows[:, 1]).sum(dim=1)
    assert 0.88 < float(cosine.max()) <= 0.9 + 1e-12
    assert -0.9 - 1e-12 <= float(cosine.min()) < -0.88


def test_a_picture_shows_the_target_of_its_world():
    """Positions of the marks as the renderer would draw them."""
    for name, kind in (("DMCReacherEasy", "geom"), ("DMCFingerTurnEasy", "site")):
        family = start(name)
        for world in (0, 1):
            data = family.engine.mjdata(world)
            family._place_markers(data, world)
            drawn = getattr(data, kind)("target").xpos
            if kind == "site":
                drawn = (drawn - data.body("spinner").xpos)[[0, 2]]
            np.testing.assert_allclose(drawn[:2], family._drawn["target"][world])


@pytest.mark.parametrize("name", ["DMCFingerTurnHard", "DMCPointMassHard", "DMCReacherEasy"])
def test_a_checkpoint_holds_what_was_drawn_and_felt(name):
    """Finger worlds in contact: their touch is of a substep that is gone."""
    family = start(name, 4)
    for _ in range(30):
        family.step(torch.full((4, 2), 0.8))
    state = family.state_dict()
    other = make_family(name, 4)
    other.load_state_dict(state)
    assert torch.equal(other.observe(), family.observe())
    if name.startswith("DMCFinger"):
        assert float(family.observe()[:, 7:9].max()) > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_a_diverged_world_ends_its_episode_and_starts_afresh(name):
    env = TrialEnv(name, 2)
    env.reset(0)
    env.family.engine.data["qvel"][1] = math.nan
    step = env.step(env.blank_action)
    assert step.terminated.tolist() == [False, True]
    assert env.num_diverged == 1
    assert bool(step.observation.isfinite().all())


# --- only some worlds -------------------------------------------------------------------------


def test_worlds_that_are_not_active_stand_still():
    family, alone = start("DMCCartpoleSwingup", 3), start("DMCCartpoleSwingup", 3)
    before = family.engine.data["qpos"].clone()
    family.active_N = torch.tensor([True, False, True])
    for _ in range(5):
        family.step(torch.ones(3, 1))
        alone.step(torch.ones(3, 1))
    now, expected = family.engine.data["qpos"], alone.engine.data["qpos"]
    assert torch.equal(now[1], before[1])
    assert torch.equal(now[[0, 2]], expected[[0, 2]])


# --- without the extra ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["DMCCartpoleSwingup", "ProjectedDMC"])
def test_a_missing_extra_is_named_with_the_line_that_installs_it(name, monkeypatch):
    monkeypatch.setattr(suite, "find_spec", lambda package: None)
    assert family_class(name).task_space.splits[:2] == ("train", "test")  # `list` needs no extra
    with pytest.raises(MissingExtraError, match=r"dm_control: pip install 'quickstudy\[dmc\]'"):
        make_family(name, 1)
