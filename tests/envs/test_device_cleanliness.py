"""Every family's reset, step and observation, as they must be on a GPU.

The tensors are on torch's `meta` device, which has shapes but no values: an operation that mixes
devices or needs a value fails there, as does what `no_host_reads` looks for.
"""

import numpy as np
import pytest
import torch
from gymnasium import spaces

import quickstudy.envs.family
import quickstudy.envs.mujoco_family
from quickstudy.envs.devices import Device
from quickstudy.envs.headless import mujoco
from quickstudy.envs.live_fields import LiveFields
from quickstudy.envs.registry import FAMILIES, family_class

NUM_WORLDS = 5
META = Device("cuda", torch.device("meta"), "warp", peeks=False)
EVERYWHERE = [name for name, entry in FAMILIES.items() if not entry.cpu_only]
A_DOZEN = {"ProjectedDMC", "ProjectedDMCBodies", "ProjectedDMCGaussian"}
"""Families of twelve environments each, with as many pairs of maps."""


class MetaEngine:
    """An engine on the meta device: all shapes are right, nothing has a value."""

    def __init__(self, model, num_worlds, substeps, device, **_):
        self.mjmodel = model
        self.num_worlds, self.substeps = num_worlds, substeps
        self.dt = model.opt.timestep * substeps
        self.device, self.dtype = device.torch_device, torch.float32
        self.diverged = torch.zeros(num_worlds, dtype=torch.bool, device=self.device)
        self.data = LiveFields(lambda name: self._tensor(mujoco.MjData(model), name))
        self.model = LiveFields(lambda name: self._tensor(model, name))

    def _tensor(self, owner, name):
        value = np.asarray(getattr(owner, name))
        dtype = torch.int32 if value.dtype.kind == "i" else self.dtype
        return torch.zeros(self.num_worlds, *value.shape, dtype=dtype, device=self.device)

    def step(self, mask=None):
        self._take(mask)

    def reset(self, mask):
        self._take(mask)

    forward = set_const = reset

    def _take(self, mask):
        assert mask is None or (mask.device == self.device and mask.dtype == torch.bool)


@pytest.fixture(name="on_meta")
def _on_meta(monkeypatch):
    """Makes a family whose tensors are on the meta device."""
    monkeypatch.setattr(quickstudy.envs.family, "find_device", lambda _: META)
    monkeypatch.setattr(quickstudy.envs.mujoco_family, "make_engine", MetaEngine)

    def make(name):
        family = family_class(name)(NUM_WORLDS, "cuda")
        family.episode_length = FAMILIES[name].episode_length
        return family

    return make


def arguments(family):
    """What `reset` is given, and an action."""
    empty = {"device": "meta"}
    mask = torch.zeros(NUM_WORLDS, dtype=torch.bool, **empty)
    tasks = torch.zeros(NUM_WORLDS, family.task_space.dim, dtype=torch.float64, **empty)
    key = torch.zeros(NUM_WORLDS, dtype=torch.int64, **empty)
    if isinstance(family.action_space, spaces.Discrete):
        return (mask, tasks, key), key
    return (mask, tasks, key), torch.zeros(NUM_WORLDS, *family.action_space.shape, **empty)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n in A_DOZEN)) for n in EVERYWHERE],
)
def test_a_family_stays_on_its_device_and_looks_at_nothing(name, on_meta, no_host_reads):
    family = on_meta(name)
    start, action = arguments(family)
    family.reset(*start)  # what is made at the first reset may come from the host
    family.step(action)
    with no_host_reads():
        family.reset(*start)
        outcome = family.step(action)
        observation = family.observe()
    assert observation.dtype == torch.float32
    assert outcome.reward.dtype == torch.float64
    assert {t.dtype for t in outcome.reward_terms.values()} == {torch.float64}
    for values in (observation, outcome.reward, outcome.terminated, outcome.diverged):
        assert values.device.type == "meta"
    assert all(values.device.type == "meta" for values in own_tensors(family))


def own_tensors(family):
    """Tensors with more than one value among a family's attributes, which steps read."""
    values = vars(family).values()
    return [value for value in values if isinstance(value, torch.Tensor) and value.ndim]


# --- and the check finds what it is for -------------------------------------------------------

LOOKS = {
    "item": lambda x: x.sum().item(),
    "bool": lambda x: bool(x.any()),
    "float": lambda x: float(x[0]),
    "numpy": lambda x: x.numpy(),
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu(),
    "nonzero": lambda x: x.nonzero(),
    "where": lambda x: torch.where(x > 0),
    "mask": lambda x: x[x > 0],
    "masked_select": lambda x: x.masked_select(x > 0),
    "write by mask": lambda x: x.__setitem__(x > 0, 1.0),
    "unique": torch.unique,
    "equal": lambda x: torch.equal(x, x),
    "tensor": lambda x: x + torch.tensor([1.0, 2.0, 3.0]),
    "from_numpy": lambda x: x + torch.from_numpy(np.ones(3)),
    "new_tensor": lambda x: x.new_tensor([1.0]),
    "rows by number": lambda x: x[[0, 1]],
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS.keys())
def test_a_look_is_found(look, no_host_reads):
    with pytest.raises(AssertionError), no_host_reads():
        look(torch.ones(3))


def test_what_needs_no_look_passes(no_host_reads):
    x = torch.ones(3)
    with no_host_reads():
        y = torch.where(x > 0, x, 0.0).masked_fill(x < 0, 1.0)
        y[1:] *= 2.0
        assert y[x.long()].shape == (3,)
        assert torch.cat([y, y]).repeat_interleave(2).shape == (12,)


def test_two_devices_in_one_operation_are_found(no_host_reads):
    with pytest.raises(AssertionError, match="between devices"), no_host_reads():
        torch.ones(3, device="meta").copy_(torch.ones(3))
