"""Runs on one device, used on another; which device is taken; what is said where one is missing.

`warp-cpu` stands for the GPU: no looks at tensors, and Warp's physics (here: families without).
"""

import copy
import dataclasses
import importlib.util
import subprocess
import sys

import pytest
import torch
from rich.console import Console

from quickstudy.agents.captured import CapturedActor
from quickstudy.agents.rollout import Actor
from quickstudy.envs import trial_setup
from quickstudy.envs.devices import find_device
from quickstudy.experiments import cli, config, doctor, gpu_doctor, train
from quickstudy.experiments.anchors import measure_anchors
from quickstudy.experiments.checkpoint import Checkpoints, moved
from quickstudy.experiments.compare import compare
from quickstudy.experiments.compare_config import CompareConfig
from quickstudy.experiments.config import TrainConfig, can_use_cuda, resolve, resolve_device
from quickstudy.experiments.evaluate_runs import evaluate_runs, export_memory
from quickstudy.experiments.gpu_doctor import gpu_findings, parse_driver_cuda
from quickstudy.experiments.play import choose_tasks, make_player, play
from quickstudy.experiments.report import EvalConfig
from quickstudy.experiments.training import Training

TRIAL = {"episode_length": 3, "episodes_per_trial": 2}
TINY = {
    "family": "PointGoal",
    "worlds": 4,
    "frames": 4 * 6 * 2,
    "width": 8,
    "checkpoint_interval": 1,
    "eval_tasks": 2,
    "video": False,
    **TRIAL,
}
PAIRS = [("cpu", "warp-cpu"), ("warp-cpu", "cpu")]


def quiet():
    return Console(quiet=True)


def heard():
    return Console(record=True, width=200, file=open("/dev/null", "w"))


@pytest.fixture(name="run")
def _run(tmp_path):
    """Makes a short run on a device."""

    def make(device, **options):
        return train.train(TrainConfig(**TINY | options | {"device": device}),
                           tmp_path / device, quiet())  # fmt: skip

    return make


# --- used on another device -------------------------------------------------------------------


@pytest.mark.parametrize(("trained", "used"), PAIRS)
def test_a_run_is_evaluated_on_another_device(trained, used, run):
    """Without physics, the numbers are even the same."""
    path = run(trained)
    here, there = (
        evaluate_runs([path], EvalConfig(tasks=3, device=device)) for device in (trained, used)
    )
    assert (here.returns_SNK == there.returns_SNK).all()


@pytest.mark.parametrize(("trained", "used"), PAIRS)
def test_a_run_goes_on_on_another_device_and_says_so(trained, used, run, monkeypatch):
    path = run(trained)
    record = path / "config.json"
    record.write_text(record.read_text().replace('"frames": 48', '"frames": 96'))
    console = heard()
    train.resume(path, console, device=used)
    assert "no longer bit for bit" in console.export_text()
    state, _ = Checkpoints(path / "checkpoints").load_latest()
    assert (state["num_updates"], state["config"]["device"]) == (4, used)
    again = heard()
    train.resume(path, again, device=used)
    assert "bit for bit" not in again.export_text()


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_state_is_the_same_on_every_device(first, second):
    """Without physics, training goes on as it would have where it was."""
    made = {d: Training(resolve(TrainConfig(**TINY, device=d))) for d in (first, second)}
    made[first].update()
    made[second].load_state_dict(copy.deepcopy(made[first].state_dict()))
    for one in made.values():
        one.update()
    wanted, found = (made[d].agent.state_dict() for d in (first, second))
    for name, rows in wanted.items():
        torch.testing.assert_close(found[name], rows, rtol=1e-5, atol=1e-6)


def test_a_checkpoint_holds_tensors_on_the_cpu():
    state = {"a": torch.zeros(2), "b": [torch.ones(1), (3, {"c": torch.zeros(())})], "d": "text"}
    on_meta = moved(state, "meta")
    assert on_meta["b"][1][1]["c"].device.type == "meta"
    assert (on_meta["b"][1][0], on_meta["d"]) == (3, "text")
    assert isinstance(on_meta["b"][1], tuple)
    assert moved(state, "cpu")["a"] is state["a"]


def test_runs_on_different_devices_are_seeds_of_one_agent(run):
    paths = [run("cpu", seed=0), run("warp-cpu", seed=1)]
    assert evaluate_runs(paths, EvalConfig(tasks=2)).returns_SNK.shape == (2, 2, 2)


def test_without_looks_the_actor_on_the_cpu_is_not_captured():
    made = Training(resolve(TrainConfig(**TINY, device="warp-cpu")))
    assert type(made.actor) is Actor
    assert not made.agent.memory.peeks


# --- every command takes a device -------------------------------------------------------------


def test_play_and_anchors_take_a_device():
    tables = []
    for device in ("cpu", "warp-cpu"):
        player = make_player("PointGoal", "expert", 0, device)
        tasks = choose_tasks("PointGoal", "train", 2, 0, ())
        table = play(player, tasks, 0)
        tables.append([list(column.cells) for column in table.columns])
    assert tables[0] == tables[1]
    found = [measure_anchors("PointGoal", num_tasks=3, device=d) for d in ("cpu", "warp-cpu")]
    assert found[0].named["zero"].mean == pytest.approx(found[1].named["zero"].mean)
    assert found[0].named["oracle"].mean == pytest.approx(found[1].named["oracle"].mean)


def test_memories_are_exported_from_a_device(run):
    path = run("warp-cpu")
    texts = []
    for device in ("cpu", "warp-cpu"):
        folder = export_memory(path, EvalConfig(tasks=2, device=device))
        texts.append((folder / "labels.tsv").read_text())
    assert texts[0] == texts[1]


def test_compare_passes_the_device_on(tmp_path, monkeypatch):
    commands = []

    def refuse(command, **_):
        commands.append(command)
        raise RuntimeError("enough")

    monkeypatch.setattr(subprocess, "run", refuse)
    asked = CompareConfig(("PointGoal",), ("rl2",), seeds=1, frames=100, folder=tmp_path,
                          device="warp-cpu")  # fmt: skip
    with pytest.raises(RuntimeError, match="enough"):
        compare(asked, quiet())
    assert commands[0][commands[0].index("--device") + 1] == "warp-cpu"


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "PointGoal"],
        ["play", "PointGoal"],
        ["anchors", "PointGoal"],
        ["compare", "PointGoal"],
        ["bench"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_every_command_refuses_an_unknown_device(arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["quickstudy", *arguments, "--device", "cudda"])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert "Unknown device 'cudda'" in error
    assert "Did you mean 'cuda'?" in error


def test_eval_refuses_an_unknown_device(run, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["quickstudy", "eval", str(run("cpu")), "--device", "gpu"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "Unknown device 'gpu'" in capsys.readouterr().err


def test_resume_takes_a_device_and_nothing_else(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(train, "resume", lambda *given: calls.append(given))
    cli.Train(resume=tmp_path, config=TrainConfig(device="warp-cpu"))()
    cli.Train(resume=tmp_path)()
    assert [(call[0], call[2]) for call in calls] == [(tmp_path, "warp-cpu"), (tmp_path, None)]
    with pytest.raises(ValueError, match="give nothing else"):
        cli.Train(resume=tmp_path, config=TrainConfig(device="warp-cpu", seed=3))()


# --- which device -----------------------------------------------------------------------------


@pytest.fixture(name="gpu")
def _gpu(monkeypatch):
    """Pretends that there is a GPU, with the packages named missing."""

    def pretend(*missing):
        find = importlib.util.find_spec
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: None if name in missing else find(name)
        )

    return pretend


def test_auto_is_cuda_where_there_is_all_it_takes(gpu):
    assert resolve_device("auto", "PointGoal") == "cpu" or torch.cuda.is_available()
    gpu()
    assert can_use_cuda()
    assert resolve_device("auto", "HalfCheetahVel") == "cuda"


def test_auto_is_the_cpu_without_the_extra_or_for_families_of_the_cpu(gpu):
    gpu("mujoco_warp")
    assert resolve_device("auto", "HalfCheetahVel") == "cpu"
    gpu()
    assert resolve_device("auto", "MetaWorldML10") == "cpu"


def test_without_cuda_the_error_says_why(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for refused in (lambda: resolve_device("cuda", "AntDir"), lambda: find_device("cuda")):
        with pytest.raises(ValueError, match=r"'cuda' is not there: torch .* Use device 'cpu'"):
            refused()


def test_a_chosen_gpu_is_named(gpu, capsys):
    gpu()
    assert cli._chosen_device("auto", "PointGoal") == "cuda"
    assert "Device: cuda" in capsys.readouterr().out
    assert cli._chosen_device("cpu", "PointGoal") == "cpu"
    assert capsys.readouterr().out == ""


def test_a_run_says_where_it_is(tmp_path):
    console = heard()
    train.train(TrainConfig(**TINY, device="warp-cpu"), tmp_path / "run", console)
    assert "Device: warp-cpu" in console.export_text()


def test_a_family_that_the_device_lacks_is_named_before_a_folder_is_made(tmp_path):
    tiny = {**TINY, "family": "MetaWorldML10", "device": "warp-cpu"}
    with pytest.raises(ValueError, match=r"MetaWorldML10 does not run on .*'warp-cpu'.*'cpu'"):
        train.train(TrainConfig(**tiny), tmp_path / "run", quiet())
    assert not (tmp_path / "run").exists()


def test_on_a_gpu_the_actor_is_captured(monkeypatch):
    """The class alone: tensors on the meta device stand for those of a GPU."""
    kinds = []

    class Started(Exception):  # noqa: N818  # a signal, no error
        pass

    def start(cls, *_, **__):
        kinds.append(cls)
        raise Started

    monkeypatch.setattr(Actor, "start", classmethod(start))
    made = trial_setup.TrialEnv

    def on_cuda(*given, **options):
        env = made(*given, **options | {"device": "warp-cpu"})
        env.device = torch.device("cuda")
        return env

    monkeypatch.setattr(trial_setup, "TrialEnv", on_cuda)
    with pytest.raises(Started):
        Training(resolve(TrainConfig(**TINY, device="warp-cpu")))
    assert kinds == [CapturedActor]


# --- doctor -----------------------------------------------------------------------------------

SMI = "| NVIDIA-SMI 580.65   Driver Version: 580.65   CUDA Version: {} |\n| GPU  Name | … |"


def test_the_drivers_version_is_read():
    assert parse_driver_cuda(SMI.format("13.0    ")) == (13, 0)
    assert parse_driver_cuda(SMI.format("12.2")) == (12, 2)
    assert parse_driver_cuda("no devices were found") is None
    assert parse_driver_cuda(SMI.format("N/A")) is None


def test_without_a_gpu_the_doctor_says_only_that(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (finding,) = gpu_findings()
    assert not finding.good
    assert "everything runs on the CPU" in finding.detail
    for check in ("_mujoco", "_rendering"):  # which take long
        monkeypatch.setattr(doctor, check, lambda: finding)
    assert doctor.examine()[-1] == finding


def test_with_a_gpu_the_doctor_says_what_is_missing(gpu, monkeypatch):
    gpu("triton")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2**35, 2**36))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "H200")
    monkeypatch.setattr(gpu_doctor, "driver_cuda", lambda: (12, 2))
    monkeypatch.setattr(gpu_doctor, "GPU_PACKAGES", ("mujoco-warp", "no-such-package"))
    findings = {finding.what: finding for finding in gpu_findings()}
    assert findings["GPU"].detail == "H200, 32 of 64 GiB free"
    assert not findings["GPU driver"].good
    assert "12.4" in findings["GPU driver"].detail
    assert findings["MuJoCo Warp"].detail == "no-such-package missing"
    assert findings["MuJoCo Warp"].fix == "pip install 'quickstudy[gpu]'"
    assert findings["Triton"].fix == "pip install triton"
    monkeypatch.setattr(gpu_doctor, "driver_cuda", lambda: (12, 4))
    assert {f.what: f.good for f in gpu_findings()}["GPU driver"]


def test_settings_of_a_run_name_its_device():
    assert dataclasses.asdict(resolve(TrainConfig(**TINY)))["device"] in config.DEVICES
