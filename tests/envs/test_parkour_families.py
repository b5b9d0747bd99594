"""Bodies, options, rewards and ends of the parkour families."""

import gymnasium as gym
import numpy as np
import pytest
import torch

import quickstudy  # noqa: F401  registers the families
from quickstudy.envs import rng
from quickstudy.envs.headless import mujoco
from quickstudy.envs.parkour.course import Slots
from quickstudy.envs.parkour.model import build_model
from quickstudy.envs.parkour.morphology import BODY_PLANS, Morphology
from quickstudy.envs.parkour.obstacles import GATE_SLOTS, STUMP_SLOTS
from quickstudy.envs.registry import make_family
from quickstudy.envs.sb3 import FamilyVecEnv
from quickstudy.envs.trials import FixedTasks, TrialEnv

NUM_WORLDS = 3
EVERY = torch.ones(NUM_WORLDS, dtype=torch.bool)
PLACES = [
    ("ParkourStumps", "biped"),
    ("ParkourStumps", "quadruped"),
    ("ParkourGates", "climber"),
]


def devices():
    """Warp compiles each model for ten seconds or more."""
    return [pytest.param("cpu"), pytest.param("warp-cpu", marks=pytest.mark.slow)]


def start(name="ParkourStumps", device="cpu", **options):
    family = make_family(name, NUM_WORLDS, device, options=options)
    task_ND = family.task_space.listing("train", NUM_WORLDS, seed=0)
    family.reset(EVERY, task_ND, rng.world_keys(0, rng.Stream.EPISODE, NUM_WORLDS))
    return family


def rest(family, steps, grip=0.0):
    """Zero torques for some steps; the fastest that anything moved after the first ten."""
    action = torch.zeros(NUM_WORLDS, *family.action_space.shape)
    action[:, family.plan.num_joints :] = grip
    fastest = 0.0
    for step in range(steps):
        family.step(action)
        if step >= 10:
            fastest = max(fastest, float(family.engine.data["qvel"].abs().max()))
    return fastest


# --- bodies at rest ---------------------------------------------------------------------------


def model_at(height_error, morphology, slots):
    """The rest pose's contacts when it is moved up or down."""
    model = build_model(morphology, slots)
    data = mujoco.MjData(model)
    data.qpos[1] += height_error
    mujoco.mj_forward(model, data)
    return data.ncon


@pytest.mark.parametrize("limb_scale", [0.3, 0.7, 1.5])
@pytest.mark.parametrize("body", ["biped", "quadruped"])
def test_a_body_of_any_size_starts_with_its_feet_on_the_ground(body, limb_scale):
    morphology = Morphology(body, limb_scale)
    assert model_at(-1e-3, morphology, STUMP_SLOTS) > 0
    assert model_at(1e-3, morphology, STUMP_SLOTS) == 0


@pytest.mark.parametrize("limb_scale", [0.3, 0.7, 1.5])
def test_a_climber_of_any_size_starts_with_its_hands_at_the_ceiling(limb_scale):
    """They find contacts within 2 cm."""
    morphology = Morphology("climber", limb_scale)
    assert model_at(-0.019, morphology, GATE_SLOTS) == 2
    assert model_at(-0.021, morphology, GATE_SLOTS) == 0


@pytest.mark.parametrize("device", devices())
def test_a_quadruped_stands_and_a_climber_hangs_for_two_seconds(device):
    for name, body in PLACES[1:]:
        family = start(name, device, body=body)
        height_N = family._z_N.clone()
        assert rest(family, 80) < 0.5
        assert float((family._z_N - height_N).abs().max()) < 0.02
        assert not bool(family._fallen().any())


def test_a_biped_whose_motors_rest_stands_for_a_moment_and_falls_softly():
    """It has no springs: like Gymnasium's walker, it tips over in about a second."""
    family = start()
    rest(family, 20)
    assert float(family._z_N.min()) > 1.15
    assert rest(family, 60) < 15.0
    assert bool(family._fallen().all())
    assert rest(family, 40) < 3.0  # it lies


@pytest.mark.parametrize("device", devices())
def test_a_climber_that_lets_go_falls(device):
    """0.5 s from rest: ½ · 9.81 · 0.5² = 1.2 m, more or less as it turns. One hand holds it."""
    family = start("ParkourGates", device, body="climber")
    height_N = family._z_N.clone()
    for _ in range(40):
        family.step(torch.tensor([[0.0, 0.0, 0.0, 0.0, 1.0, -1.0]] * NUM_WORLDS))
    assert float((family._z_N - height_N).abs().max()) < 0.1
    height_N = family._z_N.clone()
    rest(family, 20, grip=-1.0)
    dropped_N = height_N - family._z_N
    assert dropped_N.tolist() == pytest.approx([1.2] * NUM_WORLDS, abs=0.5)
    rest(family, 40, grip=-1.0)
    assert bool(family._fallen().all())


@pytest.mark.parametrize(("name", "body"), PLACES)
def test_random_actions_on_any_course_blow_nothing_up(name, body):
    """Twice as strong, on limbs of half the length, for 200 steps amidst obstacles."""
    env = TrialEnv(name, 16, family_options={"body": body, "limb_scale": 0.5, "torque_scale": 2})
    env.reset(0)
    env.family.engine.data["qpos"][:, 0] += torch.arange(16.0)
    for step in range(200):
        key_N = rng.fold_in(rng.world_keys(2, rng.Stream.ACTION, 16), step // 5)
        u_NA = rng.uniform(key_N, env.family.action_space.shape[0])
        assert bool(env.step((2.0 * u_NA - 1.0).to(torch.float32)).observation.isfinite().all())
        assert float(env.family.engine.data["qvel"][:, :2].abs().max()) < 40.0
    assert env.num_diverged == 0


# --- morphology -------------------------------------------------------------------------------


def test_limbs_and_torques_scale_and_the_torso_does_not():
    """Hips of the biped are 1.01 m up: 0.95 m of limbs, and the foot's radius of 6 cm."""
    whole, half = (build_model(Morphology("biped", s, 0.5 + s), STUMP_SLOTS) for s in (1.0, 0.5))
    assert whole.qpos0[1] == pytest.approx(0.2 + 0.95 + 0.06)
    assert half.qpos0[1] == pytest.approx(0.2 + 0.475 + 0.06)
    for model, scale in ((whole, 1.0), (half, 0.5)):
        assert model.geom("shin").size[:2] == pytest.approx([0.04, 0.25 * scale])
        assert model.geom("torso").size[:2] == pytest.approx([0.05, 0.2])
        assert model.body("thigh").pos == pytest.approx([0, 0, -0.2])
        assert model.body("foot_left").pos == pytest.approx([0, 0, -0.5 * scale])
        assert model.actuator_gear[:, 0] == pytest.approx([100.0 * (0.5 + scale)] * 6)


def test_the_grip_is_six_weights_whatever_the_limbs_and_torques():
    for scale in (1.0, 0.5):
        model = build_model(Morphology("climber", scale, 2.0), GATE_SLOTS)
        weight = 9.81 * model.body_subtreemass[0]
        assert model.actuator_gainprm[4:, 0] == pytest.approx([6 * weight] * 2)
        assert model.actuator_gear[:4, 0] == pytest.approx([200, 120, 200, 120])
        assert model.geom("hand").pos == pytest.approx([0, 0, 0.45 * scale])


@pytest.mark.parametrize("body", BODY_PLANS)
def test_a_plan_says_what_its_model_has(body):
    plan = BODY_PLANS[body]
    model = build_model(Morphology(body), GATE_SLOTS)
    assert model.nq == model.nv == 3 + plan.num_joints
    assert model.nu == plan.num_controls
    assert model.nmocap == len(GATE_SLOTS.half_widths)


def test_a_model_without_a_ceiling_has_no_such_geom():
    model = build_model(Morphology(), Slots((0.1, 0.7)))
    with pytest.raises(KeyError):
        model.geom("ceiling")
    assert model.geom_size[-2:, 0].tolist() == [0.1, 0.7]


# --- options ----------------------------------------------------------------------------------

FEATURES = {"biped": 37, "quadruped": 41, "climber": 33}
ACTIONS = {"biped": 6, "quadruped": 8, "climber": 6}


@pytest.mark.parametrize("body", BODY_PLANS)
def test_spaces_are_the_bodys_own_in_every_view(body):
    shapes = (FEATURES[body],), (ACTIONS[body],)
    family = start("ParkourGates", body=body, limb_scale=0.7)
    assert (family.observation_space.shape, family.action_space.shape) == shapes
    assert family.observe().shape == (NUM_WORLDS, FEATURES[body])
    env = gym.make("quickstudy/ParkourGates-v0", body=body, limb_scale=0.7)
    assert (env.observation_space.shape, env.action_space.shape) == shapes
    observation, info = env.reset(seed=1)
    assert env.observation_space.contains(observation)
    assert "success" in env.step(env.action_space.sample())[4]
    vector = gym.make_vec("quickstudy/ParkourGates-v0", num_envs=2, body=body, limb_scale=0.7)
    assert vector.reset(seed=1)[0][0].tolist() == observation.tolist()
    sb3 = FamilyVecEnv("ParkourGates", 2, seed=1, body=body, limb_scale=0.7)
    assert (sb3.observation_space.shape, sb3.action_space.shape) == shapes
    assert sb3.reset()[0].tolist() == observation.tolist()
    assert sb3.reset_infos[0]["task"].tolist() == info["task"].tolist()


def test_other_limbs_are_another_robot():
    observations = [start(limb_scale=scale).observe()[:, 0] for scale in ("1", "0.5")]
    assert (observations[0] - observations[1]).tolist() == pytest.approx([0.475] * 3)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("PointGoal", {"body": "biped"}, "PointGoal has no options, got 'body'"),
        ("ParkourStumps", {"bodi": "biped"}, "Unknown option 'bodi'. Did you mean 'body'"),
        ("ParkourStumps", {"body": "bipedal"}, "Did you mean 'biped'"),
        ("ParkourStumps", {"limb_scale": "long"}, "limb_scale must be of type float, got 'long'"),
        ("ParkourStumps", {"limb_scale": 0.2}, "limb_scale must be from 0.3 to 1.5, got 0.2"),
        ("ParkourStumps", {"limb_scale": "nan"}, "limb_scale must be from 0.3 to 1.5, got nan"),
        ("ParkourRough", {"torque_scale": 4}, "torque_scale must be from 0.1 to 3, got 4"),
        ("ParkourRough", {"body": "climber"}, "ParkourRough has no ceiling for body 'climber'"),
    ],
)
def test_bad_options_are_refused_by_name(name, options, message):
    with pytest.raises(ValueError, match=message):
        make_family(name, 1, options=options)
    with pytest.raises(ValueError, match=message):
        gym.make(f"quickstudy/{name}-v0", **options)


# --- rewards and ends -------------------------------------------------------------------------


def placed(family, x_N, pitch=0.0):
    """On a course without obstacles near, moving nowhere: physics stands still."""
    family._simulate = lambda action: family._qpos_NQ[:, 0].add_(0.1)
    family._qpos_NQ[:, 0] = x_N
    family._qpos_NQ[:, 2] = pitch


def test_a_step_of_a_tenth_of_a_metre_earns_a_two_hundredth_of_the_track():
    """0.1 / 20 = 0.005; six actions of 0.5: −0.0001 · 0.25."""
    family = start()
    placed(family, torch.zeros(3, dtype=torch.float64))
    outcome = family.step(torch.full((3, 6), 0.5))
    assert outcome.reward_terms["progress"].tolist() == pytest.approx([0.005] * 3)
    assert outcome.reward_terms["control"].tolist() == pytest.approx([-2.5e-5] * 3)
    assert outcome.reward_terms["fall"].tolist() == [0.0] * 3
    assert not bool(outcome.terminated.any())


def test_success_comes_at_three_quarters_and_the_end_at_the_tracks():
    """15.1 → 15.2 m is a success (0.76 · 20), 19.9 → 20 m the end; neither is a fall."""
    family = start()
    placed(family, torch.tensor([15.0, 15.1 + 1e-9, 19.9 + 1e-9], dtype=torch.float64))
    outcome = family.step(torch.zeros(3, 6))
    assert outcome.success.tolist() == [False, True, True]
    assert outcome.terminated.tolist() == [False, False, True]
    assert outcome.reward_terms["fall"].tolist() == [0.0] * 3


def test_robots_fall_by_pitch_or_height():
    """The biped starts at 1.21 m; 0.45 of that is 0.5445 m."""
    family = start()
    placed(family, torch.zeros(3, dtype=torch.float64))
    family._qpos_NQ[:, 2] = torch.tensor([1.21, -1.21, 1.19], dtype=torch.float64)
    outcome = family.step(torch.zeros(3, 6))
    assert outcome.terminated.tolist() == [True, True, False]
    assert outcome.reward_terms["fall"].tolist() == [-0.1, -0.1, 0.0]
    family._qpos_NQ[:, 2] = 0.0
    family._qpos_NQ[:, 1] = torch.tensor([0.54, 0.55, 3.0], dtype=torch.float64)
    assert family.step(torch.zeros(3, 6)).terminated.tolist() == [True, False, False]


def test_on_rough_ground_height_counts_from_the_slab_below_or_left_behind():
    """Slabs at 0 m and then 3 m (three steps up); the torso is at 3.6 m."""
    family = start("ParkourRough")
    course = family.course
    course.x_NS[:, 1:16] = course.x_NS[:1, 1:16]
    course.face_NS[:] = torch.tensor([0.0] + [3.0] * 15 + [-40.0] * 7, dtype=torch.float64)
    left = float(course.x_NS[0, 1]) - 0.5
    placed(family, torch.tensor([left - 0.3, left + 0.2, left + 0.2], dtype=torch.float64))
    family._qpos_NQ[:, 1] = torch.tensor([3.6, 3.6, 3.5], dtype=torch.float64)
    outcome = family.step(torch.zeros(3, 6))
    assert family.observe()[:, 0].tolist() == pytest.approx([3.6, 0.6, 0.5])
    assert outcome.terminated.tolist() == [False, False, True]


def test_a_climber_may_turn_and_has_fallen_with_its_shoulders_near_the_floor():
    family = start("ParkourGates", body="climber")
    placed(family, torch.zeros(3, dtype=torch.float64), pitch=2.0)
    family._qpos_NQ[:, 1] = torch.tensor([3.0, 0.71, 0.69], dtype=torch.float64)
    assert family.step(torch.zeros(3, 6)).terminated.tolist() == [False, False, True]
    assert family.observe()[:, 1].tolist() == pytest.approx([2.0] * 3)
    family._qpos_NQ[:, 2] = 2.0 + 2.0 * np.pi
    assert family.observe()[:, 1].tolist() == pytest.approx([2.0] * 3, abs=1e-6)


def test_grips_are_adhesions_from_none_to_full():
    family = start("ParkourGates", body="climber")
    family.step(torch.tensor([[0.5, -0.5, 0.0, 1.0, grip, -grip] for grip in (-1.0, 0.0, 1.0)]))
    controls = family.engine.data["ctrl"]
    assert controls[:, :4].tolist() == [[0.5, -0.5, 0.0, 1.0]] * 3
    assert controls[:, 4].tolist() == [0.0, 0.5, 1.0]
    assert controls[:, 5].tolist() == [1.0, 0.5, 0.0]


def test_a_success_is_counted_in_trials():
    tasks = torch.tensor([[0.0, 2.0, 1.0]] * 2, dtype=torch.float64)
    env = TrialEnv("ParkourStumps", 2, episode_length=2, task_source=FixedTasks(tasks))
    env.reset(0)
    env.family.engine.data["qpos"][0, 0] = 15.4
    for _ in range(2):
        env.step(torch.zeros(2, 6))
    assert env.finished().successes.tolist() == [[True], [False]]
