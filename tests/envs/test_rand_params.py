"""Randomised masses, inertias, friction and damping: what they are, and which of them are felt."""

import pytest
import torch

from quickstudy.envs import rng
from quickstudy.envs.batch_engine import load_model
from quickstudy.envs.families.rand_params import possible_inertia
from quickstudy.envs.headless import mujoco
from quickstudy.envs.registry import family_class, make_family


@pytest.fixture(params=["Walker2dRandParams", "HopperRandParams"], name="robot")
def _robot(request):
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


def test_multipliers_are_powers_of_the_exponents(robot):
    """Against NumPy: 1.5^x, for damping 1.3^x, in MuJoCo's order with the world first."""
    family = start(robot, tasks_of(robot, "ood", 5))
    model = load_model(family.model_file)
    bodies = [*(model.body(i).name for i in range(1, model.nbody)), "world"]
    geoms = [*(model.geom(i).name for i in range(1, model.ngeom)), "floor"]
    for world, task_D in enumerate(family.task_ND.numpy()):
        names = [p.name for p in family.task_space.parameters]
        x = dict(zip(names, task_D, strict=True))
        ours = family.engine.world_model(world)
        for body in bodies:
            mass = 1.5 ** x[f"mass_{body}"] * model.body(body).mass
            assert ours.body(body).mass == pytest.approx(mass, rel=1e-13)
            moments = [1.5 ** x[f"inertia_{i}_{body}"] for i in (1, 2)] * model.body(body).inertia[
                :2
            ]
            assert ours.body(body).inertia[:2] == pytest.approx(moments, rel=1e-13)
        for geom in geoms:
            kinds = [1.5 ** x[f"{kind}_{geom}"] for kind in ("sliding", "torsional", "rolling")]
            friction = kinds * model.geom(geom).friction
            assert ours.geom(geom).friction == pytest.approx(friction, rel=1e-13)
        damping = [1.3 ** x[f"damping_{model.joint(i).name}"] for i in range(model.nv)]
        assert ours.dof_damping == pytest.approx(damping * model.dof_damping, rel=1e-13)


def test_a_third_moment_is_clamped_to_what_the_first_two_allow():
    """(2, 3): between 1 and 5. The other two stay."""
    given = torch.tensor([[2.0, 3.0, 0.5], [2.0, 3.0, 4.0], [2.0, 3.0, 7.0], [3.0, 2.0, 0.5]])
    assert possible_inertia(given)[:, 2].tolist() == [1.0, 4.0, 5.0, 1.0]
    assert torch.equal(possible_inertia(given)[:, :2], given[:, :2])


@pytest.mark.parametrize("split", ["train", "test", "ood"])
def test_no_moment_of_inertia_exceeds_the_sum_of_the_others(robot, split):
    """10 000 draws; unrepaired, hardly any of them has only possible bodies."""
    task_ND = tasks_of(robot, split, 10_000)
    inertia_NB3 = make_family(robot, 10_000)._body(task_ND)["body_inertia"][:, 1:]
    assert bool((inertia_NB3 > 0).all())
    largest, total = inertia_NB3.amax(-1), inertia_NB3.sum(-1)
    assert bool((largest <= (total - largest) * (1 + 1e-12)).all())


def test_a_randomised_body_compiles(robot):
    """MuJoCo's compiler refuses impossible moments; it takes ours, for every segment."""
    family = start(robot, tasks_of(robot, "ood", 20))
    for world in range(20):
        spec = mujoco.MjSpec()
        for mass, moments in zip(
            family.engine.model["body_mass"][world, 1:].tolist(),
            family.engine.model["body_inertia"][world, 1:].tolist(),
            strict=True,
        ):
            body = spec.worldbody.add_body(mass=mass, inertia=moments, explicitinertial=True)
            body.add_freejoint()
        assert spec.compile().nbody == family.engine.mjmodel.nbody


def felt(robot):
    """The parameters that the manual says change how the robot moves."""
    model = load_model(family_class(robot).model_file)
    bodies = [model.body(i).name for i in range(1, model.nbody)]
    names = {f"{kind}_{body}" for body in bodies for kind in ("mass", "inertia_2", "sliding")}
    return (
        names | {"sliding_floor"} | {f"damping_{model.joint(i).name}" for i in range(3, model.nv)}
    )


def moved_by_one_parameter(family, seed):
    """How far worlds end from the last one, which has the ordinary body; all act alike.

    300 steps in which the robot falls, and every segment slides on the floor.
    """
    for step in range(300):
        family.step(actions(family, step, seed)[-1:].expand(family.num_worlds, -1))
    qpos = family.engine.data["qpos"]
    return (qpos - qpos[-1]).abs().amax(dim=1)[:-1]


def test_the_parameters_that_change_the_motion_are_those_the_manual_names(robot):
    """World i has parameter i at 2 and all others at 0."""
    names = [p.name for p in family_class(robot).task_space.parameters]
    family = make_family(robot, len(names) + 1)
    task_ND = torch.cat([2.0 * torch.eye(len(names)), torch.zeros(1, len(names))]).double()
    one_key_N = rng.world_keys(3, rng.Stream.EPISODE, 1).expand(len(task_ND))
    different = set()
    for seed in (0, 2):
        family.reset(torch.ones(len(task_ND), dtype=torch.bool), task_ND, one_key_N)
        moved = moved_by_one_parameter(family, seed).tolist()
        different |= {name for name, far in zip(names, moved, strict=True) if far > 1e-6}
    assert different == felt(robot)
    assert f"{len(different)} change how" in " ".join(family_class(robot).__doc__.split())
