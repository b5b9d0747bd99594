"""The half-cheetah's legs of other lengths, against what MuJoCo compiles."""

import re

import numpy as np
import pytest
import torch

from quickstudy.envs import rng
from quickstudy.envs.batch_engine import ASSETS, load_model
from quickstudy.envs.families.half_cheetah_body import capsule
from quickstudy.envs.headless import mujoco
from quickstudy.envs.registry import family_class, make_family

CHEETAH = ASSETS / "half_cheetah.xml"
LEGS = (("bthigh", "bshin", "bfoot"), ("fthigh", "fshin", "ffoot"))


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


def compiled_cheetah(task):
    """What MuJoCo compiles from the XML with other limbs, the legs' inertias left to its geoms."""
    xml = re.sub(r'(<body name="[bf]\w+" .*>\n\s*)<inertial .*/>', r"\1", CHEETAH.read_text())
    spec = mujoco.MjSpec.from_string(xml)
    ordinary = load_model("half_cheetah.xml")
    for leg, length, gear in zip(LEGS, task[:2], task[2:], strict=True):
        for part in leg:
            body, geom = spec.body(part), spec.geom(part)
            geom.density = ordinary.body(part).mass[0] / capsule_volume(*geom.size[:2])
            geom.pos = geom.pos * length
            geom.size = geom.size * [1.0, length, 1.0]
            if part not in ("bthigh", "fthigh"):
                body.pos = body.pos * length
            spec.actuator(part).gear[0] *= gear
    torso = spec.body("torso")
    torso.pos[2] += lowest(ordinary) - lowest(spec.compile())
    return spec.compile()


def capsule_volume(radius, half_length):
    return np.pi * radius**2 * (2.0 * half_length + 4.0 / 3.0 * radius)


def lowest(model):
    """The height of the lowest point of the legs at rest (m)."""
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return min(
        data.geom(part).xpos[2]
        - abs(data.geom(part).xmat[8]) * model.geom(part).size[1]
        - model.geom(part).size[0]
        for leg in LEGS
        for part in leg
    )


CHEETAHS = torch.tensor(
    [[1.0, 1.0, 1.0, 1.0], [0.7, 1.3, 0.5, 1.5], [1.25, 0.8, 1.2, 0.9], [1.5, 1.5, 1.5, 0.5]],
    dtype=torch.float64,
)


def test_a_cheetah_with_other_limbs_is_the_compiled_one():
    """Mass, inertia, geometry, bounds, inverse weights: all that a compiler derives.

    Principal axes may be named otherwise (a capsule has two equal moments), so orientations of the
    inertial frames are compared by the tensors they stand for.
    """
    family = start("HalfCheetahBody", CHEETAHS)
    for world, task in enumerate(CHEETAHS.tolist()):
        ours, theirs = family.engine.world_model(world), compiled_cheetah(task)
        assert_same_model(ours, theirs, rtol=1e-11, atol=1e-11)


def test_a_cheetah_with_other_limbs_moves_and_touches_the_ground_as_the_compiled_one():
    """The same contacts at every step, so no foot of a longer leg falls through."""
    family = start("HalfCheetahBody", CHEETAHS)
    plain = []
    for world, task in enumerate(CHEETAHS.tolist()):
        model = compiled_cheetah(task)
        data = mujoco.MjData(model)
        data.qpos[:] = family.engine.data["qpos"][world].numpy()
        data.qvel[:] = family.engine.data["qvel"][world].numpy()
        plain.append((model, data))
    num_contacts = family.engine.data["ncon"]
    touched = torch.zeros(len(plain))
    for step in range(40):
        family.step(actions(family, step))
        touched += num_contacts.flatten() > 0
        for world, (model, data) in enumerate(plain):
            data.ctrl[:] = actions(family, step)[world].numpy()
            mujoco.mj_step(model, data, family.substeps)
            ours = family.engine.data["qpos"][world].numpy()
            np.testing.assert_allclose(ours, data.qpos, rtol=0, atol=1e-6)
            assert int(num_contacts[world]) == data.ncon
    assert bool((touched > 20).all())


def test_longer_legs_stand_on_the_ground_and_not_in_it():
    """Left alone for 3 s, every cheetah rests on the ground, none more than 2 cm deep in it."""
    family = start("HalfCheetahBody", tasks_of("HalfCheetahBody", "ood", 8))
    for _ in range(60):
        family.step(torch.zeros(8, 6))
    for world in range(8):
        model, data = family.engine.world_model(world), family.engine.mjdata(world)
        depth = [contact.dist for contact in data.contact[: data.ncon]]
        assert depth
        assert min(depth) > -0.02
        assert all(data.geom(f"{leg}foot").xpos[2] > 0.0 for leg in "bf")
        assert model.geom("bfoot").size[1] > 0.094 * 1.3


@pytest.mark.parametrize("split", ["train", "ood"])
def test_every_cheetah_starts_as_far_above_the_ground_as_the_ordinary_one(split):
    family = start("HalfCheetahBody", tasks_of("HalfCheetahBody", split, 20))
    ordinary = lowest(load_model("half_cheetah.xml"))
    assert ordinary > 0.0
    for world in range(20):
        assert lowest(family.engine.world_model(world)) == pytest.approx(ordinary, abs=1e-12)


def test_a_capsules_mass_and_moments_worked_by_hand():
    """Radius 1, half length 1: a cylinder of 2π and a ball of 4π/3.

    About the axis: 2π · 1/2 + 4π/3 · 0.4 = 1.5333 π. Across: 2π (1/4 + 1/3) for the cylinder, and
    4π/3 (0.4 + 1 + 0.75) for the half balls, 4.0333 π.
    """
    mass, moments = capsule(torch.tensor(1.0).double(), torch.tensor(1.0).double())
    assert float(mass) == pytest.approx(10.0 / 3.0 * np.pi)
    across = (7.0 / 6.0 + 43.0 / 15.0) * np.pi
    assert moments.tolist() == pytest.approx([across, across, 23.0 / 15.0 * np.pi])


def test_a_picture_shows_the_body_of_its_world_and_task():
    family = start("HalfCheetahBody", CHEETAHS)
    for field in ("qpos", "qvel"):
        family.engine.data[field].zero_()
    try:
        pictures = [family.render(world).copy() for world in (0, 3, 0)]
    except Exception as error:  # whatever MuJoCo lacks here
        pytest.skip(f"MuJoCo cannot draw here: {error}")
    assert not np.array_equal(pictures[0], pictures[1])
    np.testing.assert_array_equal(pictures[0], pictures[2])
    reset(family, CHEETAHS.flip(0))
    for field in ("qpos", "qvel"):
        family.engine.data[field].zero_()
    np.testing.assert_array_equal(family.render(0), pictures[1])
    family.close()
