"""What a released family does never changes: its first 50 steps under a fixed seed are on file.

A family that behaves differently is another version: raise it in `envs/registry.py`, then

    python tests/contracts/test_goldens.py

adds the lines that are missing in `goldens.json` (it changes none that are there).
"""

import json
from pathlib import Path

import pytest
import torch
from gymnasium import spaces

from quickstudy.envs import rng
from quickstudy.envs.registry import FAMILIES, family_class
from quickstudy.envs.trials import FixedTasks, TrialEnv

FILE = Path(__file__).with_name("goldens.json")
NUM_WORLDS = 4
LOOKED_AT = (1, 2, 10, 25, 50)


def key(name):
    return f"{name}-v{FAMILIES[name].version}"


def first_steps(name):
    """Rewards, observations' sums and ends of episodes in 4 worlds after some of 50 steps."""
    tasks = family_class(name).task_space.listing("train", NUM_WORLDS, seed=0)
    env = TrialEnv(name, NUM_WORLDS, task_source=FixedTasks(tasks))
    env.reset(0)
    rows = []
    for step in range(1, 51):
        time_step = env.step(_actions(env, step))
        if step in LOOKED_AT:
            sums = time_step.observation.double().sum(dim=1)
            ends = time_step.episode_start.double()
            rows.append(torch.stack([time_step.reward.double(), sums, ends]))
    env.close()
    return torch.stack(rows)


def _actions(env, step):
    keys = rng.fold_in(rng.world_keys(5, rng.Stream.ACTION, NUM_WORLDS), step)
    space = env.family.action_space
    if isinstance(space, spaces.Discrete):
        return (rng.uniform(keys, 1)[:, 0] * int(space.n)).long()
    return (2.0 * rng.uniform(keys, space.shape[0]) - 1.0).to(torch.float32)


def stored():
    return json.loads(FILE.read_text())


@pytest.mark.parametrize("name", FAMILIES)
def test_the_first_steps_are_those_on_file(name):
    assert key(name) in stored(), f"run: python {FILE.with_name(Path(__file__).name)}"
    expected = torch.tensor(stored()[key(name)], dtype=torch.float64)
    # Chaos enlarges the last bits, in which processors differ; a changed rule is far larger.
    message = f"{name} has changed: give it a new version in envs/registry.py (see this file)"
    torch.testing.assert_close(
        first_steps(name), expected, rtol=1e-4, atol=1e-4, msg=lambda text: f"{message}\n{text}"
    )


def test_a_change_of_one_percent_in_a_reward_would_be_seen():
    changed = first_steps("HalfCheetahVel")
    changed[:, 0] *= 1.01
    expected = torch.tensor(stored()[key("HalfCheetahVel")], dtype=torch.float64)
    assert not torch.allclose(changed, expected, rtol=1e-4, atol=1e-4)


def test_every_line_on_file_is_of_a_version_that_was_registered():
    versions = dict(line.rsplit("-v", 1) for line in stored())
    assert set(versions) == set(FAMILIES)
    assert all(int(version) <= FAMILIES[name].version for name, version in versions.items())


def _add_missing_lines():
    on_file = stored() if FILE.exists() else {}
    for name in FAMILIES:
        if key(name) not in on_file:
            on_file[key(name)] = [
                [[round(x, 9) for x in row] for row in step] for step in first_steps(name).tolist()
            ]
    lines = [f"{json.dumps(name)}: {json.dumps(steps)}" for name, steps in on_file.items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    _add_missing_lines()
