"""What `quickstudy doctor` says about `--device cuda`: GPU, driver, MuJoCo Warp, Triton."""

import importlib.metadata
import importlib.util
import subprocess

import torch

from quickstudy.experiments.finding import Finding

OLDEST_CUDA = (12, 4)
"""What the driver must support for graphs with loops in them, such as MuJoCo Warp's solver."""
GPU_PACKAGES = ("mujoco-warp", "warp-lang")
INSTALL = "pip install 'quickstudy[gpu]'"


def gpu_findings() -> list[Finding]:
    """Everything that `--device cuda` needs; without a GPU, only that there is none."""
    gpu = _gpu()
    if not gpu.good:
        return [gpu]
    return [gpu, _driver(), _warp(), _triton()]


def _gpu() -> Finding:
    if torch.cuda.is_available():
        free, total = (bytes_ / 2**30 for bytes_ in torch.cuda.mem_get_info())
        name = torch.cuda.get_device_name()
        return Finding("GPU", True, f"{name}, {free:.0f} of {total:.0f} GiB free")
    build = torch.version.cuda
    if build is None:
        detail = "torch is a CPU build; everything runs on the CPU"
        return Finding("GPU", False, detail, "with a GPU: pip install torch (its CUDA build)")
    detail = f"torch (for CUDA {build}) sees none; everything runs on the CPU"
    return Finding("GPU", False, detail, "with a GPU: see whether nvidia-smi finds it")


def _driver() -> Finding:
    """The newest CUDA that the installed driver supports."""
    supported = driver_cuda()
    wanted = ".".join(map(str, OLDEST_CUDA))
    if supported is None:
        return Finding("GPU driver", False, "its version is unknown", "look at nvidia-smi")
    detail = f"supports CUDA {supported[0]}.{supported[1]}"
    if supported >= OLDEST_CUDA:
        return Finding("GPU driver", True, detail)
    return Finding("GPU driver", False, f"{detail}; physics needs {wanted}", "update the driver")


def driver_cuda() -> tuple[int, int] | None:
    """As `nvidia-smi` tells; None if it cannot be asked."""
    try:
        shown = subprocess.run(
            ["nvidia-smi"], capture_output=True, text=True, check=True, timeout=30
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_driver_cuda(shown)


def parse_driver_cuda(shown: str) -> tuple[int, int] | None:
    """The version after "CUDA Version:" in `nvidia-smi`'s table."""
    _, found, rest = shown.partition("CUDA Version:")
    parts = rest.split("|")[0].split(".")
    if not found or len(parts) < 2 or not all(part.strip().isdecimal() for part in parts[:2]):
        return None
    return int(parts[0]), int(parts[1])


def _warp() -> Finding:
    found = {name: _version(name) for name in GPU_PACKAGES}
    missing = [name for name, version in found.items() if version is None]
    if missing:
        return Finding("MuJoCo Warp", False, f"{', '.join(missing)} missing", INSTALL)
    return Finding("MuJoCo Warp", True, ", ".join(f"{n} {v}" for n, v in found.items()))


def _triton() -> Finding:
    if importlib.util.find_spec("triton") is not None:
        return Finding("Triton", True, _version("triton") or "installed")
    detail = "missing; recurrences are scanned by slower torch operations"
    return Finding("Triton", False, detail, "pip install triton")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
