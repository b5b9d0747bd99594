"""`quickstudy doctor`: what is installed, what is missing, and the command that fixes it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from rich.table import Table

from quickstudy.experiments.finding import Finding
from quickstudy.experiments.gpu_doctor import gpu_findings
from quickstudy.experiments.run_folder import package_versions
from quickstudy.experiments.video import GL_PACKAGE_HINT

MIN_FREE_GB = 2.0


def examine() -> list[Finding]:
    """Look at everything a run may need."""
    checks: list[Callable[[], Finding]] = [_python, _mujoco, _rendering, _compiler, _disk]
    return [*_packages(), *(check() for check in checks), *gpu_findings()]


def table(findings: list[Finding]) -> Table:
    """The findings for the terminal."""
    shown = Table("what", "", "found", "fix")
    for finding in findings:
        shown.add_row(finding.what, "ok" if finding.good else "—", finding.detail, finding.fix)
    return shown


def _packages() -> list[Finding]:
    return [
        Finding(name, version is not None, version or "missing", f"pip install {name}")
        if version is None
        else Finding(name, True, version)
        for name, version in package_versions().items()
        if name != "python"
    ]


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", sys.version_info >= (3, 11), found, "")


def _mujoco() -> Finding:
    """Whether a model loads and a batch of it steps."""
    try:
        from quickstudy.envs.trials import TrialEnv

        env = TrialEnv("HalfCheetahDir", 2)
        env.reset(0)
        env.step(env.blank_action)
    except Exception as error:
        fix = "pip install --force-reinstall 'mujoco>=4.0'"
        return Finding("physics", False, f"{type(error).__name__}: {error}", fix)
    return Finding("physics", True, f"HalfCheetahDir steps on {len(os.sched_getaffinity(0))} cores")


def _rendering() -> Finding:
    """In a process of its own: a broken OpenGL may end the process."""
    code = (
        "from quickstudy.envs.registry import make_family\n"
        "print(make_family('HalfCheetahDir', 1).render().shape)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    platform = os.environ.get("MUJOCO_GL", "chosen automatically")
    if result.returncode == 0:
        return Finding("rendering", True, f"off-screen rendering works (MUJOCO_GL {platform})")
    last = (result.stderr.strip().splitlines() or ["no message"])[-1]
    return Finding("rendering", False, last, GL_PACKAGE_HINT.split(": ", 1)[1])


def _compiler() -> Finding:
    compiler = shutil.which("cc")
    if compiler:
        return Finding("C compiler", True, compiler)
    return Finding("C compiler", False, "only `bench` wants one", "apt-get install -y gcc")


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    detail = f"{free:.1f} GB free in {Path.cwd()}"
    return Finding("disk", free > MIN_FREE_GB, detail, "" if free > MIN_FREE_GB else "free some")
