"""Evaluation plays exactly the asked tasks and episodes, and says how good the result is."""

import json

import numpy as np
import pytest
import torch

from quickstudy.agents.agent import Agent
from quickstudy.agents.registry import agent_config
from quickstudy.envs.registry import family_class
from quickstudy.envs.trial_setup import TrialSetup
from quickstudy.envs.trials import FixedTasks, TrialEnv
from quickstudy.experiments import evaluate as evaluate_module
from quickstudy.experiments.config import TrainConfig, resolve
from quickstudy.experiments.evaluate import evaluate
from quickstudy.experiments.policies import AgentPolicy, ExpertPolicy, RandomPolicy, ZeroPolicy
from quickstudy.experiments.report import EvalConfig, evaluate_agents


def returns_of(policy, family, tasks, seed=0, **setup):
    """The return of each episode `(N, K)`."""
    return evaluate(policy, TrialSetup(family, **setup), tasks, seed).returns.numpy()


def make_agent(family, seed=0):
    env = TrialEnv(family, 1)
    return Agent(
        agent_config("rl2"), env.observation_size, env.family.action_space, seed, horizon=20
    )


class AlternatingPolicy:
    """Right in every second world: half the worlds of `ProbeArm` earn 1, half 0."""

    def begin(self, env):
        self._right = env.tasks[:, 0].long()
        self._wrong = torch.arange(env.num_worlds) % 2

    def act(self, time_step):
        return (self._right + self._wrong) % 2


def test_the_returns_of_each_task_stand_in_its_row():
    tasks = family_class("ProbeArm").task_space.listing("test", 6, seed=0)
    returns = returns_of(AlternatingPolicy(), "ProbeArm", tasks, episodes_per_trial=3)
    np.testing.assert_array_equal(returns, [[1, 1, 1], [0, 0, 0]] * 3)


class FallingHalf:
    """Zero action in even worlds; random ones in odd worlds, where ants fall within seconds."""

    def begin(self, env):
        self._random = RandomPolicy(0)
        self._random.begin(env)

    def act(self, time_step):
        action = self._random.act(time_step)
        action[::2] = 0.0
        return action


def test_short_episodes_do_not_crowd_out_long_ones():
    """Counting the first episodes to finish would count the falling ants again and again."""
    tasks = family_class("AntDir").task_space.listing("test", 6, seed=0)
    returns = returns_of(FallingHalf(), "AntDir", tasks, episode_length=80, episodes_per_trial=2)
    env = TrialEnv(
        "AntDir", 6, episode_length=80, episodes_per_trial=2, task_source=FixedTasks(tasks)
    )
    env.reset(0)
    policy = FallingHalf()
    policy.begin(env)
    firsts, trials = {}, 0
    for _ in range(160):
        env.step(policy.act(None))
        results = env.finished()
        trials += len(results.returns)
        for world, row in zip(results.worlds.tolist(), results.returns.tolist(), strict=True):
            firsts.setdefault(world, row)
    assert trials > 6, "no ant fell early: the test would prove nothing"
    np.testing.assert_array_equal(returns, [firsts[world] for world in range(6)])


def test_evaluating_in_parts_gives_the_same_number_of_rows(monkeypatch):
    monkeypatch.setattr(evaluate_module, "MAX_WORLDS", 4)
    tasks = family_class("PointGoal").task_space.listing("test", 10, seed=0)
    returns = returns_of(ExpertPolicy(), "PointGoal", tasks)
    monkeypatch.setattr(evaluate_module, "MAX_WORLDS", 1024)
    np.testing.assert_array_equal(returns, returns_of(ExpertPolicy(), "PointGoal", tasks))


def test_the_sparse_expert_earns_the_published_oracle_return():
    """13.4 in 20 steps and 53.4 in 60 are the known oracle returns of the sparse semicircle."""
    tasks = family_class("SparsePointGoal").task_space.listing("test", 256, seed=0)
    for length, oracle in ((20, 13.4), (60, 53.4)):
        returns = returns_of(ExpertPolicy(), "SparsePointGoal", tasks, episode_length=length)
        assert returns.mean() == pytest.approx(oracle, abs=0.5)


def test_after_a_switch_the_next_task_of_the_list_is_played():
    """`AlternatingPolicy` earns 1 on even tasks and 0 on odd ones, in every episode."""
    tasks = family_class("ProbeArm").task_space.listing("test", 6, seed=0)
    returns = returns_of(
        AlternatingPolicy(), "ProbeArm", tasks, episodes_per_trial=3, switch_episode=3
    )
    np.testing.assert_array_equal(returns, [[1, 1, 0], [0, 0, 1]] * 3)


def test_a_fixed_belief_is_told_everywhere():
    space = family_class("SparsePointGoal").task_space
    tasks = space.listing("test", 64, seed=0)
    returns = returns_of(ExpertPolicy(tasks[0]), "SparsePointGoal", tasks)
    assert returns[0, 0] > 10
    assert (returns[:, 0] == 0).mean() > 0.5


def test_random_and_zero_policies_fit_every_action_space():
    for family in ("ProbeArm", "PointGoal"):
        tasks = family_class(family).task_space.listing("test", 3, seed=0)
        assert returns_of(RandomPolicy(0), family, tasks).shape[0] == 3
        first, second = (returns_of(RandomPolicy(1), family, tasks) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        assert np.isfinite(returns_of(ZeroPolicy(), family, tasks)).all()


def test_a_wiped_memory_knows_only_its_own_episode():
    """Each wiped episode of a deterministic family repeats the first exactly."""
    agent = make_agent("PointGoal")
    with torch.no_grad():
        agent.policy_head.output.weight *= 100  # as initialised, the mean action hardly varies
    tasks = family_class("PointGoal").task_space.listing("test", 8, seed=0)
    wiped = returns_of(
        AgentPolicy(agent, wipe_memory=True), "PointGoal", tasks, episodes_per_trial=3
    )
    kept = returns_of(AgentPolicy(agent), "PointGoal", tasks, episodes_per_trial=3)
    np.testing.assert_array_equal(wiped, wiped[:, :1].repeat(3, axis=1))
    np.testing.assert_array_equal(kept[:, 0], wiped[:, 0])
    assert not np.array_equal(kept, wiped)


def test_sampled_actions_depend_on_the_seed_alone():
    agent = make_agent("PointGoal")
    tasks = family_class("PointGoal").task_space.listing("test", 4, seed=0)

    def run(seed):
        return returns_of(AgentPolicy(agent, deterministic=False, seed=seed), "PointGoal", tasks)

    np.testing.assert_array_equal(run(3), run(3))
    assert not np.array_equal(run(3), run(4))


def test_a_report_holds_returns_intervals_and_anchors():
    config = resolve(TrainConfig(family="PointGoal"))
    agents = [make_agent("PointGoal", seed) for seed in (0, 1)]
    report = evaluate_agents(agents, config, EvalConfig(tasks=5, episodes=3))
    record = json.loads(json.dumps(report.to_dict()))
    assert np.shape(record["returns_by_seed"]) == (2, 5, 3)
    np.testing.assert_allclose(record["returns"], np.mean(record["returns_by_seed"], axis=0))
    assert len(record["interval"]["mean"]) == 3
    assert record["interval"]["gain"]["low"] <= record["interval"]["gain"]["high"]
    assert record["anchors"]["oracle"]["mean"] > record["anchors"]["non_adaptive"]["mean"]
    assert "episode 3" in report.markdown()


def test_an_unknown_split_is_refused():
    config = resolve(TrainConfig(family="HalfCheetahDir"))
    with pytest.raises(ValueError, match=r"Unknown split 'ood'.*Options: train, test"):
        evaluate_agents([make_agent("HalfCheetahDir")], config, EvalConfig(split="ood"))
