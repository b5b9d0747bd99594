"""Pictures beside torch's compiler, in a process of their own: what fails here is a crash."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

RENDER_THEN_TRITON = """
from quickstudy.envs.headless import make_renderer, mujoco

model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><geom size='1'/></worldbody></mujoco>")
renderer = make_renderer(model, 8, 8)
renderer.update_scene(mujoco.MjData(model))
renderer.render()
import triton
print("alive")
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton")
def test_triton_can_be_loaded_after_a_picture_was_drawn():
    done = subprocess.run(
        [sys.executable, "-c", RENDER_THEN_TRITON], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "alive\n"
