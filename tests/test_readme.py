"""What the README tells people to type works, at tiny size; what it links to is there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from quickstudy.experiments import cli

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
TINY = {
    "train": ["--worlds", "2", "--episode-length", "5", "--eval-tasks", "2"],
    "eval": ["--tasks", "2"],
    "anchors": ["--tasks", "2"],
    "bench": ["--quick"],
}
SCHOOL = ["--steps", "600", "--epoch", "300", "--block", "25"]
CLASSROOM = {
    # So few episodes bring so little progress that none is a niche on the scale from 0 to 1.
    "toy": [*SCHOOL, "--students", "2", "--teacher-options", "score_range", "0,0.02"],
    "teach": [*SCHOOL, "--students", "1", "--teacher-options", "pretest", "300"],
    "show": [],
    "draw": [],
    "study": [
        *SCHOOL,
        "--students",
        "1",
        "--classroom-size",
        "1",
        "--arms",
        "random",
        "alp-gmm",
        "--pretest",
        "300",
    ],
    "agent": ["--students", "1", "--steps", "60", "--epoch", "60", "--block", "2"],
}
"""What a README's classroom command is followed by here: later options count."""
FEW = ["--generations", "1", "--estimator-options", "pairs", "1", "--centre-lives", "2"]
DISCOVERY = {
    "ta-lpg-small": [*FEW, "--final-lives", "2", "--lives", "min_updates", "1", "max_updates", "2"],
    "--resume": [],
    "report": ["--updates", "4"],
    "estimators": ["--num-updates", "2", "--estimates", "4", "--pairs", "4", "--ascent", "1"],
    "explors": ["--episodes", "40", "--num-seeds", "2"],
    "two-colours": ["--width", "4", "--seeds", "1", "--steps", "512", "--sweep", "0.1"],
}
DISCOVERY["estimators"] += ["--reference-lives", "4"]
LIVES = ["--lives", "copies", "2", "rollout_steps", "4", "evaluation_steps", "20"]
LIVES += ["min_updates", "2", "max_updates", "3"]
RULES = ["--seeds", "1", "--steps", "300", "--exam-lives", "4", "--tuning-lives", "2", *LIVES]
RULES += ["--processes", "1"]
GRID = ["--grid.rates", "40", "--grid.entropies", "0.01"]
DISCOVERY |= {
    "horizons": ["--times", "none", "fraction", "--horizons", "1", *GRID, *RULES],
    "schedules": ["--arms", "open-es", "meta-gradient", "--entropies", "0.01", *RULES],
    "unseen": ["--folder", "runs/unseen", "--tasks", "bandit", "--updates", "2", *GRID, *RULES],
}
DISCOVERY["unseen"] += ["--evaluation-steps", "10"]
META_TEST = [
    "--families",
    "PointGoal/5x2",
    "--agents",
    "markov",
    "--rates",
    "0.001",
    "--seeds",
    "1",
]
DISCOVERY["meta-test"] = [*META_TEST, "--against", "ppo", "--frames", "40", "--tasks", "2"]
"""What a README's discover command is followed by here."""
AGENT = ["--student-options", "family", "ParkourStumps", "agent", "markov", "worlds", "2"]
AGENT += ["episode_length", "5"]
SMALL = {"--frames": "40", "--tasks": "2", "--trials": "20", "--seeds": "1"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[list[str]]:
    lines = "\n".join(blocks("bash")).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith("quickstudy ")]


def shrunk(arguments: list[str], folder: Path, run: Path) -> list[str]:
    """The same command on few frames and tasks, in a folder of its own."""
    arguments = list(arguments)
    for flag, small in SMALL.items():
        if flag in arguments:
            arguments[arguments.index(flag) + 1] = small
    if arguments[0] == "train":
        arguments += ["--frames", "40"] if "--frames" not in arguments else []
        for flag in ("--run-dir", "--episode-length"):
            if flag in arguments:
                index = arguments.index(flag)
                del arguments[index : index + 2]
        arguments += ["--run-dir", str(run)]
    if arguments[0] == "compare" and "/" not in arguments[1]:
        arguments[1] += "/5x2"
    arguments = [str(run) if part.startswith("runs/") else part for part in arguments]
    extra = TINY.get(arguments[0], [])
    return arguments + (extra if not set(extra) & set(arguments) else [])


def test_the_two_commands_come_first_and_exist():
    make = [line for line in "\n".join(blocks("bash")).splitlines() if line.startswith("make ")]
    assert [line.split()[1] for line in make[:2]] == ["demo", "test"]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {line.split()[1] for line in make} <= targets


def test_there_is_something_to_run():
    assert {"train", "eval", "play", "list"} <= {command[1] for command in commands()}


def of_classrooms(command: list[str]) -> bool:
    return command[1] == "classroom"


def test_the_classroom_commands_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    given = [command for command in commands() if of_classrooms(command)]
    assert len(given) == 7
    for command in given:
        kind = "agent" if "agent" in command else command[2].replace("build", "toy")
        if "parkour-mini" in command:
            continue  # tests/experiments/test_classroom.py: minutes even at its smallest
        extra = [*CLASSROOM[kind], *(AGENT if kind == "agent" else [])]
        monkeypatch.setattr(sys, "argv", [*command, *extra])
        cli.main()
    shown = capsys.readouterr().out
    assert "1/1 past-0000 finished" in shown
    assert "crashed" not in shown


def of_discovery(command: list[str]) -> bool:
    return command[1] == "discover"


@pytest.mark.usefixtures("trained_here")
def test_the_discovery_commands_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    given = [command for command in commands() if of_discovery(command)]
    assert {command[2] for command in given} == set(DISCOVERY)
    for command in given:
        monkeypatch.setattr(sys, "argv", [*command, *DISCOVERY[command[2]]])
        cli.main()
    assert (tmp_path / "runs" / "ta-lpg" / "rule.json").exists()


@pytest.mark.parametrize(
    "command",
    [command for command in commands() if not of_classrooms(command) and not of_discovery(command)],
    ids=" ".join,
)
@pytest.mark.usefixtures("trained_here")
def test_every_quickstudy_command_runs(command, tmp_path, monkeypatch, trained_runs):
    monkeypatch.chdir(tmp_path)
    family = next((part for part in command if part in trained_runs), "HalfCheetahDir")
    run = tmp_path / "new" if command[1] == "train" else trained_runs[family]
    monkeypatch.setattr(sys, "argv", ["quickstudy", *shrunk(command[1:], tmp_path, run)])
    cli.main()


@pytest.fixture(scope="module")
def trained_runs(tmp_path_factory):
    """A tiny run to stand for each `runs/…` that a command names."""
    runs = {}
    for family in ("HalfCheetahDir",):
        runs[family] = tmp_path_factory.mktemp("readme") / family
        with pytest.MonkeyPatch.context() as monkeypatch:
            arguments = ["train", family, "--frames", "40", *TINY["train"]]
            monkeypatch.setattr(
                sys, "argv", ["quickstudy", *arguments, "--run-dir", str(runs[family])]
            )
            cli.main()
    return runs


@pytest.mark.parametrize("code", blocks("python"))
def test_every_python_example_runs(code, tmp_path):
    code = re.sub(r"num_envs=\d+", "num_envs=2", code)
    code = re.sub(r"total_timesteps=[\d_]+", "total_timesteps=64", code)
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


RESULTS = ROOT / "experiments" / "benchmarks" / "results"


def test_the_results_page_names_every_record_and_only_those():
    page = (RESULTS / "README.md").read_text()
    named = set(re.findall(r"[\w-]+\.(?:json|png|gif|mp4)\b", page)) - {"RECORD.json"}
    assert named == {path.name for path in RESULTS.iterdir()} - {"README.md"}


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", RESULTS / "README.md"], ids=["readme", "results"]
)
def test_links_within_the_project_lead_somewhere(page):
    anchors = {
        path: {
            re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
            for title in re.findall(r"^#+ (.*)$", path.read_text(), flags=re.MULTILINE)
        }
        for path in (ROOT / "README.md", RESULTS / "README.md")
    }
    links = re.findall(r"\]\(([^)]+)\)", page.read_text())
    assert links
    for link in links:
        name, _, anchor = link.partition("#")
        target = (page.parent / name if name else page).resolve()
        assert target.exists(), link
        assert not anchor or anchor in anchors[target], link
