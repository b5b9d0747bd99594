"""Courses: what a vector and a seed say is what stands there, and what the scan sees."""

import numpy as np
import pytest
import torch

from quickstudy.envs import rng
from quickstudy.envs.headless import mujoco
from quickstudy.envs.parkour import obstacles, rough
from quickstudy.envs.parkour.course import (
    SCAN_RANGE,
    START,
    TRACK_LENGTH,
    Course,
    Slots,
    ceiling_heights,
    floor_heights,
    scan_distances,
)
from quickstudy.envs.registry import FAMILIES, family_class, make_family

PARKOUR = [name for name in FAMILIES if name.startswith("Parkour")]
STEP = 14 / 68


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def keys(count, seed=0):
    return rng.world_keys(seed, rng.Stream.LEVEL, count)


def laid(name, task_ND, device="cpu"):
    family = make_family(name, len(task_ND), device)
    every = torch.ones(len(task_ND), dtype=torch.bool)
    family.reset(every, task_ND, rng.world_keys(0, rng.Stream.EPISODE, len(task_ND)))
    return family


# --- levels -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PARKOUR)
def test_the_same_vector_and_seed_are_the_same_course_wherever_they_are_played(name):
    task_ND = family_class(name).task_space.listing("train", 9, seed=4)
    family = laid(name, task_ND)
    places = family.engine.data["mocap_pos"].clone()
    order = torch.arange(8, -1, -1)
    assert torch.equal(laid(name, task_ND[order]).engine.data["mocap_pos"][order], places)
    for world in (0, 5):
        alone = laid(name, task_ND[world : world + 1])
        assert torch.equal(alone.engine.data["mocap_pos"][0], places[world])
        assert torch.equal(alone.course.face_NS[0], family.course.face_NS[world])


@pytest.mark.parametrize("name", PARKOUR)
def test_another_seed_is_another_course_of_the_same_vector(name):
    task_ND = family_class(name).task_space.listing("train", 1, seed=0).repeat(2, 1)
    task_ND[1, -1] += 1
    course = laid(name, task_ND).course
    assert not torch.equal(course.face_NS[0], course.face_NS[1])


@pytest.mark.parametrize("name", PARKOUR)
def test_every_course_fits_its_slots_and_begins_beyond_the_first_scan(name):
    space = family_class(name).task_space
    task_ND = torch.cat([space.listing(split, 100, seed=0) for split in space.splits])
    family = laid(name, task_ND)
    course, half_S = family.course, family._half_width_S
    assert len(half_S) <= 24
    assert course.x_NS.shape == course.face_NS.shape == (len(task_ND), len(half_S))
    assert bool(course.face_NS.isfinite().all())
    left_NS = (course.x_NS - half_S)[:, 1 if name == "ParkourRough" else 0 :]
    assert float(left_NS.min()) >= START - 1e-9 > SCAN_RANGE


# --- stumps -----------------------------------------------------------------------------------


def test_stumps_stand_one_width_and_one_spacing_apart():
    """The first from 2.6 to 2.8 m; with 0.8 m between them the next centres are 1 m farther on."""
    course = obstacles.stump_course(tensor([0.3]), tensor([0.8]), keys(1))
    assert course.x_NS[0, :3].tolist() == pytest.approx([2.7, 3.7, 4.7])


def test_stumps_are_as_high_as_said_give_or_take_two_centimetres():
    """48 000 draws: the mean's standard error is 0.0001."""
    height_N = torch.full((2000,), 0.4, dtype=torch.float64)
    face_NS = obstacles.stump_course(height_N, height_N, keys(2000)).face_NS
    assert float(face_NS.mean()) == pytest.approx(0.4, abs=5e-4)
    assert float(face_NS.std()) == pytest.approx(0.02, abs=5e-4)


def test_stumps_of_no_height_are_out_of_reach():
    face_NS = obstacles.stump_course(tensor([0.0] * 100), tensor([1.0] * 100), keys(100)).face_NS
    assert 0.4 < float((face_NS < 0).double().mean()) < 0.6
    assert set(face_NS[face_NS <= 1e-3].tolist()) == {-0.3}


# --- gates ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("centre", "standing", "hanging"),
    [
        (1.6, 0.5, 2.7),  # 1.6 − 1.1; 1.6 + 1.1
        (2.2, 1.1, 3.3),
        (1.1, -0.3, 2.2),  # nothing stands
        (3.3, 2.2, 4.7),  # nothing hangs: behind the ceiling at 4.4
        (3.8, 2.7, 4.7),
    ],
)
def test_a_gate_is_open_for_one_metre_and_a_tenth_to_both_sides(
    centre, standing, hanging, monkeypatch
):
    monkeypatch.setattr(obstacles, "FLOOR_NOISE", 0.0)
    monkeypatch.setattr(obstacles, "CEILING_NOISE", 0.0)
    course = obstacles.gate_course(tensor([centre]), tensor([1.0]), keys(1))
    assert course.face_NS[0].tolist() == pytest.approx([standing] * 12 + [hanging] * 12)
    assert torch.equal(course.x_NS[:, :12], course.x_NS[:, 12:])
    assert float(course.x_NS[0, 1] - course.x_NS[0, 0]) == pytest.approx(1.165)


def test_the_edges_of_gates_vary_by_two_and_by_nine_centimetres():
    centre_N = torch.full((2000,), 2.2, dtype=torch.float64)
    face_NS = obstacles.gate_course(centre_N, centre_N, keys(2000)).face_NS
    for faces, mean, deviation in ((face_NS[:, :12], 1.1, 0.022), (face_NS[:, 12:], 3.3, 0.088)):
        assert float(faces.mean()) == pytest.approx(mean, abs=3e-3)
        assert float(faces.std()) == pytest.approx(deviation, rel=0.03)


# --- rough ------------------------------------------------------------------------------------


def test_a_rough_course_worked_by_hand(monkeypatch):
    """A pit, a stump and two steps up, in turn; sizes half-way between their bounds, no roughness.

    In steps of 14/68 m: pits 2–4, so 3; stumps 1–3, so 2; stairs 1–2, so 1.5. Two slabs, two slabs,
    and two steps with one more slab: seven, and all over again. The eighth slab (index 7) lies two
    pits and seven slabs behind 2.6 m, two steps up.
    """
    kinds = [0.1, 0.5, 0.9, 0.1, 0.5, 0.9, 0.1]
    u = tensor([kinds + [0.5] * 7 + [0.9] * 7 + [0.5] * rough.NUM_SLABS])
    monkeypatch.setattr(rng, "uniform", lambda key, size: u)
    course = rough.rough_course(tensor([[10, 2, 4, 1, 3, 1, 2, 2.4]]), keys(1))
    slabs, stumps = course.x_NS[0, 1:15], course.x_NS[0, 16:]
    tops, heights = course.face_NS[0, 1:15], course.face_NS[0, 16:]
    pits = [3 * STEP] * 7 + [6 * STEP] * 7
    assert slabs.tolist() == pytest.approx([3.1 + i + pit for i, pit in enumerate(pits)])
    rises = [0, 0, 0, 0, 1, 2, 2, 2, 2, 2, 2, 3, 4, 4]
    assert tops.tolist() == pytest.approx([1.5 * STEP * n for n in rises])
    assert course.x_NS[0, 0].item() - 2.8 == pytest.approx(-3.0)  # the start: from −3 to 2.6
    assert course.x_NS[0, 15].item() - 4.0 == pytest.approx(2.6 + 14 + 6 * STEP)
    assert course.face_NS[0, 15].item() == pytest.approx(6 * STEP)
    standing = (heights > rough.DEPTH).nonzero()[:, 0].tolist()
    assert standing == [1, 4]  # the second and the fifth block
    assert stumps[standing].tolist() == pytest.approx([5.1 + 3 * STEP, 12.1 + 6 * STEP])
    assert heights[standing].tolist() == pytest.approx([2 * STEP, 5 * STEP])


def rough_courses(task, count=1000):
    return rough.rough_course(tensor([task] * count), keys(count))


def gaps(course):
    left_NS = course.x_NS[:, 1 : rough.NUM_SLABS + 1] - 0.5
    right_NS = torch.cat([torch.full_like(left_NS[:, :1], START), left_NS[:, :-1] + 1.0], dim=1)
    return left_NS - right_NS


def test_pits_are_as_wide_as_said_and_as_frequent_as_other_blocks():
    """All blocks of two slabs: a third of 7 per course."""
    course = rough_courses([0, 2, 4, 0, 0, 0, 0, 1])
    gap_NS = gaps(course)
    pit_NS = gap_NS > 1e-9
    assert float(pit_NS.sum(dim=1).double().mean()) == pytest.approx(7 / 3, abs=0.15)
    assert 2 * STEP <= float(gap_NS[pit_NS].min()) < 2.1 * STEP
    assert 3.9 * STEP < float(gap_NS.max()) <= 4 * STEP + 1e-9


def test_bounds_may_be_the_wrong_way_round():
    gap_NS = gaps(rough_courses([0, 4, 2, 0, 0, 0, 0, 1]))
    assert 2 * STEP <= float(gap_NS[gap_NS > 1e-9].min()) <= float(gap_NS.max()) <= 4.001 * STEP


def test_slabs_lie_within_the_roughness_of_the_last_one():
    tops_NS = rough_courses([5, 0, 0, 0, 0, 0, 0, 1]).face_NS[:, :15]
    edges = tops_NS.diff(dim=1)
    assert 0.149 < float(edges.max()) <= 0.15
    assert -0.15 <= float(edges.min()) < -0.149
    assert float(edges.mean()) == pytest.approx(0.0, abs=3e-3)


def test_stairs_have_their_steps_and_go_both_ways():
    tops_NS = rough_courses([0, 0, 0, 0, 0, 1, 1, 4]).face_NS[:, :15]
    edge_NS = tops_NS.diff(dim=1)
    values = sorted(set((edge_NS / STEP).round().flatten().tolist()))
    assert values == [-1.0, 0.0, 1.0]
    first_up = edge_NS[(edge_NS[:, 0] > 0) & (edge_NS[:, 4] == 0)]
    assert len(first_up) > 50
    assert first_up[0, :5].tolist() == pytest.approx([STEP] * 4 + [0])


def test_the_last_slab_reaches_beyond_the_finish():
    course = rough_courses([10, 0, 10, 0, 5, 0, 5, 9])
    assert float(course.x_NS[:, 15].min()) + 4.0 > TRACK_LENGTH + 2.0


# --- the scan ---------------------------------------------------------------------------------


def test_the_scan_looks_up_to_its_range_in_ten_steps():
    assert scan_distances(torch.device("cpu")).tolist() == pytest.approx(
        [0.235 * i for i in range(1, 11)]
    )


def test_heights_worked_by_hand():
    """A box from 1 to 2 m that is 0.5 m high, one from 1.75 to 2.25 m and 0.8 m; a hidden one; and
    one that hangs from 3 to 4 m down to 2 m.
    """
    slots = Slots((0.5, 0.25, 1.0, 0.5), num_hanging=1, ceiling=4.4)
    half = tensor(slots.half_widths)
    course = Course(tensor([[1.5, 2.0, 1.5, 3.5]]), tensor([[0.5, 0.8, -0.3, 2.0]]))
    x = tensor([[0.9, 1.1, 1.8, 2.2, 2.3, 3.5]])
    assert floor_heights(course, slots, half, x)[0].tolist() == [0, 0.5, 0.8, 0.8, 0, 0]
    assert ceiling_heights(course, slots, half, x)[0].tolist() == [4.4] * 5 + [2.0]


def ray(model, data, x, z, direction):
    """The height at which a vertical ray from (x, z) ends, infinite if it does not."""
    geom = np.zeros(1, np.int32)
    start, along = np.array([x, 0.0, z]), np.array([0.0, 0.0, direction])
    distance = mujoco.mj_ray(model, data, start, along, None, 1, -1, geom, None)
    return z + direction * distance if distance >= 0 else direction * np.inf


@pytest.mark.parametrize("name", PARKOUR)
def test_the_scan_is_what_rays_find(name):
    space = family_class(name).task_space
    family = laid(name, space.listing("train", 6, seed=1))
    x_N = tensor([0.0, 2.0, 5.0, 8.3, 12.1, 16.0])
    family.engine.data["qpos"][:, 0] = x_N
    observation = family.observe()
    z_N = family.engine.data["qpos"][:, 1].clone()
    scans = observation[:, 17:].double()
    for world in range(6):
        data = family.engine.mjdata(world)
        model = family.engine.world_model(world)
        data.qpos[0] = -50.0  # out of the rays' way
        mujoco.mj_forward(model, data)
        gates = name == "ParkourGates"
        above = float(family.task_ND[world, 0]) if gates else 30.0
        for point in range(10):
            x = float(x_N[world]) + 0.235 * (point + 1)
            found = [ray(model, data, x, above, -1.0)]
            found += [ray(model, data, x, above, 1.0)] if gates else []
            for scan, height in enumerate(found):
                expected = np.clip(height - float(z_N[world]), -2.35, 2.35)
                assert float(scans[world, 10 * scan + point]) == pytest.approx(expected, abs=1e-6)
    assert float(scans.std(dim=1).max()) > 0.05
