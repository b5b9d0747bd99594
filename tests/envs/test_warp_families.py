"""Every MuJoCo family on the GPU's engine (here on Warp's CPU device) beside the CPU's."""

import pytest
import torch

from quickstudy.envs import rng
from quickstudy.envs.dmc.projected import ProjectedSuite
from quickstudy.envs.mujoco_family import MujocoFamily
from quickstudy.envs.registry import FAMILIES, family_class, make_family

pytest.importorskip("mujoco_warp", reason="needs the extra: pip install 'quickstudy[gpu]'")

NUM_WORLDS = 8
EVERY = torch.ones(NUM_WORLDS, dtype=torch.bool)
EVERYDAY = {"HalfCheetahVel", "AntDir"}
"""Their models are compiled for other tests already; each further one takes a minute."""

ON_WARP = [
    name for name in FAMILIES if issubclass(family_class(name), (MujocoFamily, ProjectedSuite))
]


def start(name, device):
    """A family at the start of an episode, the same one on each device."""
    family = make_family(name, NUM_WORLDS, device)
    tasks = family.task_space.listing("train", NUM_WORLDS, seed=0)
    family.reset(EVERY, tasks, rng.world_keys(0, rng.Stream.EPISODE, NUM_WORLDS))
    return family


def actions(family, step):
    keys = rng.fold_in(rng.world_keys(3, rng.Stream.ACTION, NUM_WORLDS), step)
    return (2.0 * rng.uniform(keys, *family.action_space.shape) - 1.0).to(torch.float32)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n not in EVERYDAY)) for n in ON_WARP]
)
def test_a_family_begins_as_on_the_cpu_and_looks_at_nothing(name, no_host_reads):
    """Rounding, and the half-cheetah's pyramidal cone, let later steps differ."""
    ours, theirs = start(name, "warp-cpu"), start(name, "cpu")
    torch.testing.assert_close(ours.observe(), theirs.observe(), rtol=1e-5, atol=1e-5)
    for step in range(3):
        action = actions(ours, step)
        with no_host_reads():
            outcome = ours.step(action)
            observation = ours.observe()
        expected = theirs.step(action)
        near = {"rtol": 2e-2, "atol": 5e-2}
        torch.testing.assert_close(observation, theirs.observe(), **near)
        torch.testing.assert_close(outcome.reward, expected.reward, **near)
        assert set(outcome.reward_terms) == set(expected.reward_terms)
        assert torch.equal(outcome.terminated, expected.terminated)
        assert not bool(outcome.diverged.any())
    key_N = rng.world_keys(9, rng.Stream.EPISODE, NUM_WORLDS)
    with no_host_reads():
        ours.reset(torch.arange(NUM_WORLDS) > 2, ours.task_ND, key_N)
        again = ours.observe()
    assert torch.equal(again[:3], observation[:3])
    assert not torch.equal(again[3:], observation[3:])
    ours.check_capacity()
    state = ours.state_dict()
    expected = ours.step(action).reward
    ours.load_state_dict(state)
    assert torch.equal(ours.step(action).reward, expected)
    ours.close()


def test_a_checkpoint_moves_between_devices():
    """What one device saved goes on, on the other, as rounding allows."""
    families = [start("HalfCheetahVel", device) for device in ("warp-cpu", "cpu")]
    for saved, loaded in (families, reversed(families)):
        saved.step(actions(saved, 0))
        loaded.load_state_dict(saved.state_dict())
        assert loaded.task_ND.device == loaded.device
        torch.testing.assert_close(loaded.observe(), saved.observe(), rtol=1e-6, atol=1e-6)


def test_a_world_that_diverged_shows_zeros_and_earns_nothing():
    family = start("HalfCheetahVel", "warp-cpu")
    family.engine.data["qvel"][2, 0] = float("nan")
    outcome = family.step(actions(family, 0))
    assert outcome.diverged.tolist() == [world == 2 for world in range(NUM_WORLDS)]
    assert outcome.terminated.tolist() == outcome.diverged.tolist()
    assert float(outcome.reward[2]) == 0.0
    assert float(family.observe()[2].abs().max()) == 0.0


def test_a_family_without_mujoco_runs_too():
    ours, theirs = start("PointGoal", "warp-cpu"), start("PointGoal", "cpu")
    action = actions(ours, 0)
    assert torch.equal(ours.step(action).reward, theirs.step(action).reward)
    assert torch.equal(ours.observe(), theirs.observe())


def test_a_picture_is_drawn_of_the_same_state():
    family = start("HalfCheetahVel", "warp-cpu")
    first = family.render(3)
    family.engine.data["qpos"][3, 1] += 0.5  # half a metre up
    assert first.shape == (240, 320, 3)
    assert (family.render(3) != first).any()
    family.close()
