"""Boxes of a course must be felt as soon as they are laid, on both engines; and stay, when resumed.

The first tests show in plain MuJoCo why boxes are mocap bodies: two ways to change a box at run
time lose all contacts without a word. The others stand robots on obstacles after each of many
changes of task.
"""

import numpy as np
import pytest
import torch

from quickstudy.envs import rng
from quickstudy.envs.headless import mujoco
from quickstudy.envs.parkour.course import Course
from quickstudy.envs.parkour.rough import NUM_SLABS
from quickstudy.envs.registry import make_family
from quickstudy.envs.trials import FixedTasks, TrialEnv

NUM_WORLDS = 6
EVERY = torch.ones(NUM_WORLDS, dtype=torch.bool)
SWAPS = 5
CM = 0.01


def devices():
    """Warp compiles each model for ten seconds or more."""
    return [pytest.param("cpu"), pytest.param("warp-cpu", marks=pytest.mark.slow)]


# --- the facts, in plain MuJoCo ---------------------------------------------------------------

SCENE = """
<mujoco><worldbody>
  <geom type="plane" size="9 9 1" contype="0" conaffinity="1"/>
  {box}
  <body name="foot" pos="0 0 1"><freejoint/><geom type="box" size=".1 .1 .1"/></body>
</worldbody></mujoco>"""
"""A foot whose sole is at 0.9 m; all boxes below end up with their tops at 0.92 m."""
BOX = '<geom name="box" type="box" size=".3 .3 {half}" pos="{pos}" contype="0" conaffinity="1"/>'
STATIC = BOX.format(half=1, pos="5 0 -1.5")
MOCAP = '<body mocap="true" pos="5 0 -1.5">' + BOX.format(half=1, pos="0 0 0") + "</body>"
SMALL = '<body mocap="true">' + BOX.format(half=0.2, pos="0 0 0") + "</body>"


def contacts_after(box, change):
    """Contacts at once, and where the foot is 0.1 s later, after `change` at run time."""
    model = mujoco.MjModel.from_xml_string(SCENE.format(box=box))
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    change(model, data)
    mujoco.mj_forward(model, data)
    contacts = data.ncon
    mujoco.mj_step(model, data, nstep=50)
    return contacts, float(data.qpos[2])


def move_geom(model, data):
    model.geom("box").pos[:] = [0.0, 0.0, -0.08]


def move_mocap(model, data):
    data.mocap_pos[0] = [0.0, 0.0, -0.08]


def grow(model, data):
    model.geom("box").size[2] = 0.92


def grow_with_bounds(model, data):
    grow(model, data)
    box = model.geom("box")
    model.geom_rbound[box.id] = np.linalg.norm(box.size)
    model.geom_aabb[box.id, 3:] = box.size


@pytest.mark.parametrize(("box", "change"), [(STATIC, move_geom), (SMALL, grow)])
def test_a_moved_static_geom_and_a_grown_one_are_not_felt(box, change):
    """The foot falls through them: ½ · 9.81 · 0.1² is 4.9 cm (steps make it 5.0)."""
    contacts, height = contacts_after(box, change)
    assert contacts == 0
    assert height == pytest.approx(0.95, abs=2e-3)


@pytest.mark.parametrize(("box", "change"), [(MOCAP, move_mocap), (SMALL, grow_with_bounds)])
def test_a_moved_mocap_box_and_one_grown_with_its_bounds_are_felt(box, change):
    contacts, height = contacts_after(box, change)
    assert contacts == 4
    assert height >= 1.0


# --- right after every change of task ---------------------------------------------------------


def swapped(family, swap):
    """Another task in every world; returns its course."""
    task_ND = family.task_space.listing("train", NUM_WORLDS, seed=swap)
    key_N = rng.world_keys(swap, rng.Stream.EPISODE, NUM_WORLDS)
    family.reset(EVERY, task_ND, key_N)
    family.engine.data["qvel"].zero_()
    return family.course


def contacts_at(family, x_N, z_N):
    """How many there are in each world with the rest pose at x, raised by z."""
    qpos = family.engine.data["qpos"]
    qpos.copy_(family._qpos0_Q.expand_as(qpos))
    qpos[:, 0] += x_N
    qpos[:, 1] += z_N
    contacts = family.engine.data["ncon"]
    family.engine.forward(EVERY)
    return contacts.clone()


def on_stumps(course: Course, swap):
    """A biped's sole (from 6 cm behind the ankle to 26 cm before it) on the middle of a stump."""
    stump = 2 + swap
    return course.x_NS[:, stump] - 0.1, course.face_NS[:, stump].clamp(min=0.0)


@pytest.mark.parametrize("device", devices())
def test_a_robot_on_a_stump_touches_it_after_every_change_of_task(device):
    family = make_family("ParkourStumps", NUM_WORLDS, device)
    for swap in range(SWAPS):
        x_N, height_N = on_stumps(swapped(family, swap), swap)
        assert bool((height_N > 0).any())
        assert bool((contacts_at(family, x_N, height_N - CM) >= 1).all())
        assert bool((contacts_at(family, x_N, height_N + CM) == 0).all())
        contacts_at(family, x_N, height_N)
        for _ in range(5):
            family.step(torch.zeros(NUM_WORLDS, 6))
        sunk_N = family._qpos0_Q[1] + height_N - family._z_N
        assert bool((sunk_N < 2 * CM).all())  # it stands on what is there


@pytest.mark.parametrize("device", devices())
def test_a_climber_below_a_hanging_stump_touches_it_after_every_change_of_task(device):
    family = make_family("ParkourGates", NUM_WORLDS, device, options={"body": "climber"})
    for swap in range(SWAPS):
        course = swapped(family, swap)
        x_N, face_N = course.x_NS[:, 12 + swap], course.face_NS[:, 12 + swap].clamp(max=4.4)
        assert bool((face_N < 4.4).any())
        # Hands find contacts within 2 cm (and not 3 cm) of what they hold.
        assert bool((contacts_at(family, x_N, face_N - 4.4 + 0.5 * CM) >= 1).all())
        assert bool((contacts_at(family, x_N, face_N - 4.4 - 3 * CM) == 0).all())


@pytest.mark.parametrize("device", devices())
def test_slabs_carry_and_pits_do_not_after_every_change_of_task(device):
    family = make_family("ParkourRough", NUM_WORLDS, device)
    seen_pits = 0
    for swap in range(SWAPS):
        course = swapped(family, swap)
        for slab in range(1, NUM_SLABS + 1, 4):
            x_N, top_N = course.x_NS[:, slab] + 0.2, course.face_NS[:, slab]
            assert bool((contacts_at(family, x_N, top_N - CM) >= 1).all())
        gap_NS = course.x_NS[:, 2 : NUM_SLABS + 1] - course.x_NS[:, 1:NUM_SLABS] - 1.0
        gap_N, pit_N = gap_NS.max(dim=1)
        behind = course.x_NS.gather(1, pit_N.unsqueeze(1) + 1)[:, 0] + 0.5
        top_N = course.face_NS.gather(1, pit_N.unsqueeze(1) + 1)[:, 0]
        wide_N = gap_N > 0.6
        seen_pits += int(wide_N.sum())
        over_pit_N = contacts_at(family, behind + gap_N / 2 - 0.1, top_N - CM)
        assert bool((over_pit_N[wide_N] == 0).all())
    assert seen_pits > SWAPS


@pytest.mark.parametrize("device", devices())
def test_a_change_of_task_moves_the_boxes_of_its_worlds_alone(device):
    family = make_family("ParkourGates", NUM_WORLDS, device)
    swapped(family, 0)
    before = family.engine.data["mocap_pos"].clone()
    mask_N = torch.arange(NUM_WORLDS) % 2 == 0
    key_N = rng.world_keys(0, rng.Stream.EPISODE, NUM_WORLDS)
    family.reset(mask_N, family.task_space.listing("train", NUM_WORLDS, seed=9), key_N)
    after = family.engine.data["mocap_pos"]
    assert torch.equal(after[~mask_N], before[~mask_N])
    assert bool((after[mask_N] != before[mask_N]).any(dim=2).any(dim=1).all())


# --- resuming ---------------------------------------------------------------------------------


def run(env, steps):
    rows = []
    for step in steps:
        key_N = rng.fold_in(rng.world_keys(1, rng.Stream.ACTION, env.num_worlds), step)
        u_NA = rng.uniform(key_N, env.family.action_space.shape[0])
        time_step = env.step((2.0 * u_NA - 1.0).to(torch.float32))
        rows += [time_step.observation, time_step.reward, time_step.episode_start]
    return rows


@pytest.mark.parametrize("device", devices())
@pytest.mark.parametrize(
    ("name", "options"), [("ParkourRough", {}), ("ParkourGates", {"body": "climber"})]
)
def test_a_run_goes_on_bit_for_bit_in_other_worlds(name, options, device):
    """Its boxes and its courses are back, though the new worlds never laid them."""
    env = TrialEnv(name, 4, device=device, family_options=options)
    env.reset(3)
    far_N = torch.tensor([1.0, 3.0, 5.0, 7.0])  # amidst obstacles, whose contacts then count
    env.family.engine.data["qpos"][:, 0] += far_N
    run(env, range(10))
    env.finished()
    state = {name: saved.clone() for name, saved in env.state_dict().items()}
    expected = run(env, range(10, 40))
    other = TrialEnv(name, 4, device=device, family_options=options)
    other.reset(77)
    other.load_state_dict(state)
    assert all(torch.equal(a, b) for a, b in zip(run(other, range(10, 40)), expected, strict=True))


def test_obstacles_change_what_the_same_actions_earn():
    """Three metres per second towards a stump, low or high: what contracts cannot see in 20 steps
    from the start.
    """
    returns = []
    for height in (0.05, 0.6):
        tasks = torch.tensor([[height, 1.0, 0.0]] * 4, dtype=torch.float64)
        env = TrialEnv("ParkourStumps", 4, task_source=FixedTasks(tasks))
        env.reset(0)
        env.family.engine.data["qpos"][:, 0] = 2.2
        env.family.engine.data["qvel"][:, 0] = 3.0
        returns.append(sum(env.step(torch.zeros(4, 6)).reward for _ in range(12)))
    assert bool(((returns[0] - returns[1]).abs() > 0.005).all())  # 10 cm
