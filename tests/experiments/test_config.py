"""Configurations: defaults filled in, and nonsense refused before anything is built."""

import json
from dataclasses import replace

import pytest

from quickstudy.agents.learner import LearnerConfig
from quickstudy.agents.objectives.ppo import PPOConfig
from quickstudy.experiments.config import TrainConfig, resolve

GOOD = TrainConfig(family="SparsePointGoal")


def test_defaults_come_from_the_family():
    config = resolve(GOOD)
    assert (config.episode_length, config.episodes_per_trial) == (20, 5)
    assert config.worlds == 512  # 51 200 frames in trials of 100 steps
    assert config.frames_per_update == 51_200
    assert config.device == "cpu"


def test_fewer_frames_than_a_rollout_mean_fewer_worlds():
    assert resolve(replace(GOOD, frames=1050)).worlds == 10


def test_updates_are_rounded_up_to_whole_rollouts():
    config = resolve(replace(GOOD, frames=1001, worlds=5))
    assert config.num_updates == 3  # 500 frames each


def test_a_configuration_survives_json():
    config = resolve(replace(GOOD, ppo=PPOConfig(clip=0.1), learner=LearnerConfig(epochs=2)))
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"family": "HalfCheetaDir"}, "'HalfCheetaDir'.*Did you mean 'HalfCheetahDir'.*Options"),
        ({"agent": "rl3"}, "'rl3'.*Did you mean 'rl2'.*Options"),
        ({"device": "cuda:9"}, "'cuda:9'.*Options: auto, cpu"),
        ({"episodes_per_trial": 0}, "episodes_per_trial must be an integer of at least 1, got 0"),
        ({"episode_length": -1}, "episode_length must be .* got -1"),
        ({"worlds": 0}, "worlds must be .* got 0"),
        ({"worlds": 2.5}, "worlds must be an integer .* got 2.5"),
        ({"frames": 99}, "frames 99 is less than one trial: 5 episodes of 20 steps take 100"),
        ({"frames": "many"}, "frames must be an integer .* got 'many'"),
        ({"seed": 1.5}, "seed must be an integer, got 1.5"),
        ({"checkpoint_interval": 0}, "checkpoint_interval"),
        ({"ppo": PPOConfig(discount=1.5)}, r"ppo.discount must lie in \[0, 1\], got 1.5"),
        ({"learner": LearnerConfig(learning_rate=-1.0)}, "learner.learning_rate"),
        ({"learner": LearnerConfig(epochs=0)}, "learner.epochs"),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        resolve(replace(GOOD, **change))
