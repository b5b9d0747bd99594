"""The memory's content for the projector: one labelled point per task and episode."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from quickstudy.envs.registry import family_class
from quickstudy.envs.trial_setup import TrialSetup
from quickstudy.experiments.config import TrainConfig, resolve
from quickstudy.experiments.evaluate import evaluate
from quickstudy.experiments.evaluate_runs import export_memory
from quickstudy.experiments.memory_export import collect_memory, save_memory
from quickstudy.experiments.policies import AgentPolicy
from quickstudy.experiments.report import EvalConfig
from quickstudy.experiments.train import train
from quickstudy.experiments.training import Training

TRIAL = {"episode_length": 4, "episodes_per_trial": 3}


@pytest.fixture(scope="module")
def training():
    config = resolve(TrainConfig(family="PointGoal", frames=12, worlds=1, **TRIAL))
    return Training(config)


def test_there_is_a_point_for_each_task_and_episode_with_its_return(training):
    config = EvalConfig(tasks=5)
    points = collect_memory(training.agent, training.config, config)
    assert points.memory_PM.shape == (15, training.agent.memory.output_size)
    tasks = family_class("PointGoal").task_space.listing("test", 5, seed=0)
    expected_NK = evaluate(
        AgentPolicy(training.agent), TrialSetup("PointGoal", **TRIAL), tasks
    ).returns
    for n, task in enumerate(tasks):
        mine = (points.task_PD == task).all(dim=1)
        assert points.episode_P[mine].tolist() == [1, 2, 3]
        np.testing.assert_allclose(points.return_P[mine].numpy(), expected_NK[n], rtol=1e-5)


def test_a_point_is_the_memory_at_the_last_step_of_its_episode(training):
    """Read off a policy that is stepped by hand: the acts that see t = 3, 7 and 11."""
    config = EvalConfig(tasks=1)
    points = collect_memory(training.agent, training.config, config)
    actor = training.actor
    policy, env = AgentPolicy(training.agent), actor.env
    env._source = _Fixed(family_class("PointGoal").task_space.listing("test", 1, seed=0))
    step = env.reset(0)
    policy.begin(env)
    seen = []
    for _ in range(12):
        action = policy.act(step)
        seen.append(policy.memory)
        step = env.step(action)
    env.finished()
    assert torch.equal(points.memory_PM, torch.cat([seen[3], seen[7], seen[11]]))


class _Fixed:
    def __init__(self, task_ND):
        self.task_ND = task_ND

    def tasks(self, key_N, trial_N, switched_N):
        return self.task_ND


def test_the_projectors_files_stand_row_by_row(training, tmp_path):
    points = collect_memory(training.agent, training.config, EvalConfig(tasks=2))
    folder = save_memory(points, tmp_path, ["x", "y"])
    rows = (folder / "memory.tsv").read_text().splitlines()
    labels = (folder / "labels.tsv").read_text().splitlines()
    assert labels[0].split("\t") == ["x", "y", "episode", "return"]
    assert len(rows) == len(labels) - 1 == 6
    np.testing.assert_allclose(
        [float(v) for v in rows[4].split("\t")], points.memory_PM[4].numpy(), rtol=1e-5, atol=1e-9
    )
    assert labels[5].split("\t")[2] == str(int(points.episode_P[4]))
    settings = (folder / "projector_config.pbtxt").read_text()
    assert "memory.tsv" in settings
    assert "labels.tsv" in settings


def test_an_agent_without_a_memory_has_none_to_save(tmp_path):
    config = TrainConfig(family="PointGoal", agent="markov", frames=12, worlds=1, **TRIAL)
    run = train(replace(config, video=False), tmp_path / "run")
    with pytest.raises(ValueError, match="markov, which has no memory"):
        export_memory(run, EvalConfig(tasks=2))
