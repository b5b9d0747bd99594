"""Names of devices, and what is said where one cannot be had."""

import importlib
import sys

import pytest
import torch

from quickstudy.envs.devices import Device, find_device
from quickstudy.envs.engine import Capacity
from quickstudy.envs.errors import MissingExtraError
from quickstudy.envs.registry import DEVICES, FAMILIES, make_family

CUDA = Device("cuda", torch.device("cuda"), "warp", peeks=False)


def test_every_name_of_the_registry_is_a_device():
    assert DEVICES == ("cpu", "cuda", "warp-cpu")
    assert (find_device("cpu").physics, find_device("cpu").peeks) == ("batch", True)
    warp = find_device("warp-cpu")
    assert (warp.physics, warp.peeks, warp.torch_device.type) == ("warp", False, "cpu")
    assert find_device(torch.device("cpu")) is find_device("cpu")


@pytest.mark.parametrize("name", ["cud", "cuda:99", "gpu", ""])
def test_an_unknown_device_is_refused_with_the_options(name):
    with pytest.raises(ValueError, match=f"Unknown device {name!r}.*Options: cpu, cuda, warp-cpu"):
        find_device(name)


@pytest.mark.parametrize(
    ("build", "reason"),
    [(None, "is built without CUDA"), ("13.0", r"built for CUDA 13\.0\) sees no GPU")],
)
def test_a_missing_gpu_is_explained_by_what_torch_sees(monkeypatch, build, reason):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", build)
    with pytest.raises(ValueError, match=f"Device 'cuda' is not there: torch .*{reason}.*'cpu'"):
        make_family("PointGoal", 1, "cuda")


def test_a_missing_extra_names_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco_warp", None)
    for name in [name for name in sys.modules if name.startswith("quickstudy.envs.warp")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtraError, match=r"pip install 'quickstudy\[gpu\]'"):
        make_family("HalfCheetahVel", 1, "warp-cpu")
    assert make_family("PointGoal", 1, "warp-cpu").device.type == "cpu"  # which needs no physics


@pytest.mark.parametrize("name", [name for name, entry in FAMILIES.items() if entry.cpu_only])
def test_a_family_for_the_cpu_alone_says_so(name):
    with pytest.raises(
        ValueError, match=f"{name} does not run on device 'warp-cpu', only on 'cpu'"
    ):
        make_family(name, 1, "warp-cpu")


def test_metaworld_alone_is_bound_to_the_cpu():
    bound = {name for name, entry in FAMILIES.items() if entry.cpu_only}
    assert bound == {name for name in FAMILIES if name.startswith("MetaWorld")}


@pytest.fixture(name="warp")
def _warp():
    pytest.importorskip("mujoco_warp", reason="needs the extra: pip install 'quickstudy[gpu]'")
    return importlib.import_module("quickstudy.envs.warp.package").wp


@pytest.mark.parametrize(
    ("version", "said"), [((12, 2), "this one is for 12.2"), (None, "an unknown version")]
)
def test_too_old_a_driver_is_refused(warp, monkeypatch, version, said):
    from quickstudy.envs.warp_engine import _warp_device

    monkeypatch.setattr(warp, "is_conditional_graph_supported", lambda: False)
    monkeypatch.setattr(warp, "get_cuda_driver_version", lambda: version)
    with pytest.raises(ValueError, match=rf"driver for 12\.4 or newer .*{said}.*Device 'cpu'"):
        _warp_device(CUDA)


class SmallGpu:
    """2 GB free."""

    is_cuda = True
    free_memory = 2_000_000_000

    def __str__(self):
        return "cuda:0"


def test_too_many_worlds_are_refused_with_the_number_that_would_fit(warp, monkeypatch):
    """2 GB of 4 MB each: 500."""
    memory = importlib.import_module("quickstudy.envs.warp.memory")
    monkeypatch.setattr(memory, "bytes_per_world", lambda *_: 4_000_000)
    told = memory.told_how_many_fit(None, 65536, Capacity(1, 1), SmallGpu())
    expected = r"num_worlds=65536 do not fit.*cuda:0.*4\.00 MB, so about 500 would.*2\.0 GB"
    with pytest.raises(ValueError, match=expected), told:
        raise RuntimeError("Failed to allocate 2147483648 bytes on device 'cuda:0'")


def test_other_failures_are_not_taken_for_a_lack_of_memory(warp):
    memory = importlib.import_module("quickstudy.envs.warp.memory")
    with (
        pytest.raises(RuntimeError, match="something else"),
        memory.told_how_many_fit(None, 1, Capacity(1, 1), SmallGpu()),
    ):
        raise RuntimeError("something else")


def test_a_worlds_memory_grows_with_its_capacity(warp):
    from quickstudy.envs.batch_engine import load_model
    from quickstudy.envs.warp.memory import bytes_per_world

    model = load_model("half_cheetah.xml")
    small, large = (bytes_per_world(model, Capacity(n, 4 * n)) for n in (10, 100))
    assert 10_000 < small < large < 10_000_000
