"""The built wheel, installed elsewhere, is the whole suite."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A fresh environment that holds the wheel; its requirements are borrowed from this one."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", wheel], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    borrowed = environment / "lib" / version / "site-packages" / "zz_borrowed.pth"
    borrowed.write_text(sysconfig.get_paths()["purelib"] + "\n")
    return environment / "bin"


def run(installed: Path, folder: Path, *command: str) -> str:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    result = subprocess.run(
        [installed / command[0], *command[1:]],
        cwd=folder,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_every_file_is_in_the_wheel(installed, tmp_path):
    code = "import quickstudy, pathlib; print(pathlib.Path(quickstudy.__file__).parent)"
    package = Path(run(installed, tmp_path, "python", "-c", code).strip())
    assert installed.parent in package.parents, "the checkout was imported, not the wheel"
    for part in ("envs", "agents", "curricula", "experiments"):
        for file in (ROOT / part).rglob("*"):
            if file.suffix in {".py", ".xml", ".c"} or file.name in {"anchors.json", "ta-lpo.json"}:
                assert (package / file.relative_to(ROOT)).is_file(), file
    assert (package / "py.typed").is_file()


def test_the_installed_command_trains_and_evaluates(installed, tmp_path):
    train = "quickstudy train HalfCheetahDir --frames 80 --worlds 2 --episode-length 10 --run-dir r"
    run(installed, tmp_path, *train.split(), "--objective", "discovered:ta-lpo")
    shown = run(installed, tmp_path, *"quickstudy eval r --tasks 2".split())
    assert "episode 2" in shown
    assert not list(tmp_path.rglob("MUJOCO_LOG.TXT"))
