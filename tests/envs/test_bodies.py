"""Families whose worlds have bodies of their own, against models built one at a time."""

import gymnasium
import numpy as np
import pytest
import torch

from quickstudy.envs import rng
from quickstudy.envs.batch_engine import load_model
from quickstudy.envs.body_family import BodyFamily
from quickstudy.envs.families.ant_crippled import dead
from quickstudy.envs.headless import mujoco
from quickstudy.envs.registry import FAMILIES, family_class, make_family

BODIES = [name for name in FAMILIES if issubclass(family_class(name), BodyFamily)]


@pytest.fixture(params=BODIES, name="name")
def _name(request):
    return request.param


def tasks_of(name, split="train", count=3):
    return family_class(name).task_space.listing(split, count, seed=0)


def reset(family, task_ND, mask=None):
    """Start all worlds, or those of a mask, from keys that depend on the world alone."""
    everywhere = torch.ones(family.num_worlds, dtype=torch.bool)
    keys = rng.world_keys(0, rng.Stream.EPISODE, family.num_worlds)
    family.reset(everywhere if mask is None else mask, task_ND, keys)
    return family


def start(name, task_ND):
    return reset(make_family(name, len(task_ND)), task_ND)


def actions(family, step, seed=0):
    keys = rng.world_keys(seed, rng.Stream.ACTION, family.num_worlds)
    u = rng.uniform(rng.fold_in(keys, step), family.action_space.shape[0])
    return (2.0 * u - 1.0).to(torch.float32)


def advance(family, num_steps, first=0):
    """qpos and qvel after each step, `(num_steps, N, ·)`."""
    rows = []
    for step in range(first, first + num_steps):
        family.step(actions(family, step))
        rows.append(torch.cat([family.engine.data["qpos"], family.engine.data["qvel"]], dim=1))
    return torch.stack(rows)


def numbers(model):
    """Every array of floats that a model consists of, by name."""
    fields = {name: getattr(model, name) for name in dir(model) if not name.startswith("_")}
    return {
        name: value.copy()
        for name, value in fields.items()
        if isinstance(value, np.ndarray) and value.dtype.kind == "f"
    }


def assert_same_model(one, other, **tolerances):
    ours, theirs = numbers(one), numbers(other)
    assert len(ours) > 100
    for field, values in ours.items():
        np.testing.assert_allclose(values, theirs[field], err_msg=field, **tolerances)


# --- every family of bodies ---------------------------------------------------------------------


def test_the_bodies_are_those_known():
    known = {"Walker2dRandParams", "HopperRandParams", "HalfCheetahBody", "AntCrippled"}
    assert known <= set(BODIES)


def test_a_task_after_another_gives_the_body_it_gives_afresh(name):
    """Nothing compounds: A, then B, then A, then B is B, in every field and every step."""
    task_a, task_b = tasks_of(name), tasks_of(name, "ood")
    fresh, used = start(name, task_b), start(name, task_a)
    advance(used, 5)
    for tasks in (task_b, task_a, task_b):
        reset(used, tasks)
    for world in range(3):
        ours, theirs = used.engine.world_model(world), fresh.engine.world_model(world)
        assert_same_model(ours, theirs, rtol=0.0, atol=0.0)
    assert torch.equal(advance(used, 30), advance(fresh, 30))


def test_a_world_is_a_plain_model_with_its_fields_written_and_derived_anew(name):
    """Bit for bit: the model, with all that MuJoCo derives, and a plain loop of mj_step."""
    family = start(name, tasks_of(name, "ood"))
    plain = []
    for world in range(3):
        model = load_model(family.model_file)
        for field in family.body_fields:
            getattr(model, field)[:] = family.engine.model[field][world].numpy()
        mujoco.mj_setConst(model, mujoco.MjData(model))
        assert_same_model(family.engine.world_model(world), model, rtol=0.0, atol=0.0)
        data = mujoco.MjData(model)
        data.qpos[:] = family.engine.data["qpos"][world].numpy()
        data.qvel[:] = family.engine.data["qvel"][world].numpy()
        plain.append((model, data))
    for step in range(40):
        family.step(actions(family, step))
        for world, (model, data) in enumerate(plain):
            data.ctrl[:] = actions(family, step)[world].numpy()
            mujoco.mj_step(model, data, family.substeps)
            for field in ("qpos", "qvel"):
                np.testing.assert_array_equal(
                    family.engine.data[field][world].numpy(), getattr(data, field), f"at {step}"
                )


def test_worlds_do_not_feel_their_neighbours_bodies(name):
    """Worlds 0 and 2 move as beside themselves, also while world 1 is built anew."""
    task_ND, others_ND = tasks_of(name), tasks_of(name, "ood")
    family, undisturbed = start(name, task_ND), start(name, task_ND)
    beside = start(name, torch.cat([task_ND[:1], others_ND[1:]]))
    before = advance(family, 20)
    assert torch.equal(advance(undisturbed, 20), before)
    assert torch.equal(advance(beside, 20)[:, 0], before[:, 0])
    reset(family, others_ND, torch.tensor([False, True, False]))
    after, expected = advance(family, 20, first=20), advance(undisturbed, 20, first=20)
    assert torch.equal(after[:, [0, 2]], expected[:, [0, 2]])
    assert not torch.equal(after[:, 1], expected[:, 1])


def test_the_number_of_worlds_changes_no_bit_of_a_body(name):
    """As it would if a power were computed in vectors whose tails are rounded otherwise."""
    task_ND = tasks_of(name, "test", 101)
    together = make_family(name, 101)._body(task_ND)
    alone = make_family(name, 1)
    for world in (0, 50, 99, 100):
        for field, values in alone._body(task_ND[world : world + 1]).items():
            assert torch.equal(values[0], together[field][world]), field


def test_a_saved_state_brings_its_bodies_along(name):
    family = start(name, tasks_of(name))
    advance(family, 10)
    state = family.state_dict()
    expected = advance(family, 20, first=10)
    resumed = start(name, tasks_of(name, "ood"))
    resumed.load_state_dict(state)
    assert torch.equal(advance(resumed, 20, first=10), expected)
    fresh = make_family(name, 3)
    fresh.load_state_dict(state)
    assert torch.equal(advance(fresh, 20, first=10), expected)


def test_bodies_are_built_when_their_task_changes_and_only_then(name, monkeypatch):
    family = start(name, tasks_of(name))
    built = []
    monkeypatch.setattr(family.engine, "set_const", lambda mask: built.append(mask.tolist()))
    reset(family, tasks_of(name))
    assert built == []
    changed = tasks_of(name)
    changed[1] = tasks_of(name, "ood")[1]
    reset(family, changed)
    reset(family, tasks_of(name), torch.tensor([True, False, False]))
    assert built == [[False, True, False]]


def test_no_world_diverges_out_of_distribution(name):
    family = start(name, tasks_of(name, "ood", 64))
    for step in range(60):
        assert not bool(family.step(actions(family, step)).diverged.any())


@pytest.mark.parametrize("value", [-9.0, 9.0])
def test_a_task_out_of_range_is_refused_by_its_parameters_name(name, value):
    space = family_class(name).task_space
    task = tasks_of(name)[0].numpy().copy()
    task[-1] = value
    low, high = space.ranges[-1]
    message = rf"{space.parameters[-1].name} = {value:g} .* {low:g} to {high:g}"
    for enter in (
        lambda: gymnasium.make(f"quickstudy/{name}-v0", task=task),
        lambda: gymnasium.make(f"quickstudy/{name}-v0").reset(options={"task": task}),
    ):
        with pytest.raises(ValueError, match=message):
            enter()
    task[-1] = np.nan
    with pytest.raises(ValueError, match="task must be finite numbers"):
        gymnasium.make(f"quickstudy/{name}-v0", task=task)


# --- the ant's legs -----------------------------------------------------------------------------


def test_nothing_comes_of_driving_a_dead_leg():
    """Legs 1–4 die in turn; the two actions differ in that leg alone, and move alike.

    With all legs alive the same two actions move differently.
    """
    motors = {1: (2, 3), 2: (4, 5), 3: (6, 7), 4: (0, 1)}
    names = [load_model("ant.xml").actuator(i).name for i in range(8)]
    for leg, pair in motors.items():
        assert [names[i] for i in pair] == [f"hip_{leg}", f"ankle_{leg}"]
        task_ND = torch.tensor([dead(leg), dead()], dtype=torch.float64)
        one, other = start("AntCrippled", task_ND), start("AntCrippled", task_ND)
        for step in range(10):
            action = actions(one, step)
            one.step(action)
            action[:, pair] *= -1.0
            other.step(action)
        same = (one.engine.data["qpos"] == other.engine.data["qpos"]).all(dim=1)
        assert same.tolist() == [True, False]


def test_tasks_name_the_dead_legs():
    assert (dead(), dead(2), dead(1, 4)) == ((1, 1, 1, 1), (1, 0, 1, 1), (0, 1, 1, 0))
    space = family_class("AntCrippled").task_space
    alive = {split: space.listing(split, 40, 0).sum(1).int().bincount() for split in space.splits}
    assert alive["train"].tolist() == [0, 0, 0, 30, 10]  # one leg dead, or none
    assert len(space.listing("ood", 40, 0).unique(dim=0)) == 7  # leg 4, and six pairs
    assert bool((space.listing("train", 40, 0)[:, 3] == 1).all())  # leg 4 dies in no training


# --- rewards and ends worked by hand ------------------------------------------------------------


def velocity_of(family, step):
    """Forward velocity over a step, from the positions around it, and the step's outcome."""
    x = family.engine.data["qpos"][:, 0].clone()
    outcome = step()
    return ((family.engine.data["qpos"][:, 0] - x) / family.engine.dt).tolist(), outcome


def test_walker_vel_pays_four_minus_the_distance_to_the_target_speed():
    """Control: 0.001 · 6 · 0.25."""
    family = start("WalkerVel", torch.tensor([[0.0], [3.0]]).double())
    speed, outcome = velocity_of(family, lambda: family.step(torch.full((2, 6), 0.5)))
    terms = outcome.reward_terms
    assert terms["speed"].tolist() == pytest.approx([-abs(speed[0]), -abs(speed[1] - 3.0)])
    assert terms["alive"].tolist() == [4.0, 4.0]
    assert terms["control"].tolist() == pytest.approx([-0.0015] * 2)


@pytest.mark.parametrize(
    ("name", "size", "control"),
    [
        ("Walker2dRandParams", 6, -0.0015),  # 0.001 · 6 · 0.25
        ("HopperRandParams", 3, -0.00075),  # 0.001 · 3 · 0.25
        ("HalfCheetahBody", 6, -0.075),  # 0.05 · 6 · 0.25
        ("AntCrippled", 8, -1.0),  # 0.5 · 8 · 0.25
    ],
)
def test_bodies_are_paid_for_speed_and_life_minus_control(name, size, control):
    family = start(name, tasks_of(name, count=2))
    speed, outcome = velocity_of(family, lambda: family.step(torch.full((2, size), 0.5)))
    terms = outcome.reward_terms
    assert terms["run"].tolist() == pytest.approx(speed, rel=1e-12)
    assert terms["control"].tolist() == pytest.approx([control] * 2)
    if name != "HalfCheetahBody":
        assert terms["alive"].tolist() == [1.0, 1.0]


def ends(name, column, values):
    """Where episodes end with these values in one column of qpos (or, after it, qvel)."""
    family = start(name, tasks_of(name, count=len(values)))
    family._simulate = lambda action: None
    state = family.engine.data["qpos"] if column < 9 else family.engine.data["qvel"]
    state[:, column % 9] = torch.tensor(values, dtype=torch.float64)
    outcome = family.step(torch.zeros(len(values), family.action_space.shape[0]))
    assert not bool(outcome.diverged.any())
    return outcome.terminated.tolist()


@pytest.mark.parametrize("walker", ["WalkerVel", "Walker2dRandParams"])
def test_a_walker_falls_below_four_fifths_of_a_metre_above_two_or_tilted_by_a_radian(walker):
    assert ends(walker, 1, [0.79, 0.81, 1.99, 2.01]) == [True, False, False, True]
    assert ends(walker, 2, [-1.01, -0.99, 0.99, 1.01]) == [True, False, False, True]
    assert ends(walker, 9, [500.0, 0.0]) == [False, False]


def test_a_hopper_falls_below_seven_tenths_of_a_metre_tilted_by_a_fifth_of_a_radian_or_too_fast():
    assert ends("HopperRandParams", 1, [0.69, 0.71, 9.0]) == [True, False, False]
    assert ends("HopperRandParams", 2, [-0.21, -0.19, 0.19, 0.21]) == [True, False, False, True]
    assert ends("HopperRandParams", 3, [-99.0, 101.0]) == [False, True]
    assert ends("HopperRandParams", 9, [-101.0, 99.0]) == [True, False]


def test_velocities_are_shown_up_to_ten():
    family = start("WalkerVel", torch.zeros(1, 1).double())
    family.engine.data["qvel"][0] = torch.linspace(-20.0, 20.0, 9)
    family.engine.data["qpos"][0] = torch.arange(9.0)
    seen = family.observe()[0].tolist()
    assert seen == [1, 2, 3, 4, 5, 6, 7, 8, -10, -10, -10, -5, 0, 5, 10, 10, 10]
