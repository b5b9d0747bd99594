"""Trials step by step: flags, inner resets, accounts and randomness.

Shape legend: T steps, N worlds.
"""

import dataclasses

import pytest
import torch
from gymnasium import spaces

from quickstudy.envs import rng, trials
from quickstudy.envs.families.probes import Probe
from quickstudy.envs.registry import DEVICES, FAMILIES, FamilyEntry
from quickstudy.envs.tasks import ListedTasks, Parameter
from quickstudy.envs.trials import FixedTasks, SampledTasks, TrialEnv


class Stopwatch(Probe):
    """Counts: the observation is 10 · (episodes begun) + steps of the episode.

    Action 1 ends the episode; the reward is the observation acted on, plus the hidden task.
    """

    task_space = ListedTasks(Parameter("bonus", 0.0, 100.0, "1"), (0.0, 100.0))

    def __init__(self, num_worlds, device="cpu"):
        super().__init__(num_worlds, device)
        self.begun_N = torch.zeros(num_worlds, dtype=torch.int64)

    def _start_episode(self, mask_N, key_N):
        super()._start_episode(mask_N, key_N)
        self.begun_N = self.begun_N + mask_N

    def _reward(self, action):
        return self._observe()[:, 0] + self.task_ND[:, 0]

    def _advance(self, action):
        return dataclasses.replace(super()._advance(action), terminated=action == 1)

    def _observe(self):
        return (10 * self.begun_N + self._step_N).to(torch.float64).unsqueeze(1)


@pytest.fixture(name="stopwatch")
def _stopwatch(monkeypatch):
    """A `TrialEnv` of three stopwatches: episodes of at most 3 steps, 2 per trial, bonus 0."""
    monkeypatch.setitem(FAMILIES, "Stopwatch", FamilyEntry("test:Stopwatch", 3, 2))
    monkeypatch.setattr(trials, "make_family", lambda name, worlds, *_, **__: Stopwatch(worlds))
    return TrialEnv("Stopwatch", 3, task_source=FixedTasks(torch.zeros(3, 1).double()))


def scripted_actions(env, step):
    """One action per world: a pure function of the world's index and the step."""
    keys = rng.fold_in(rng.world_keys(9, rng.Stream.ACTION, env.num_worlds), step)
    space = env.family.action_space
    if isinstance(space, spaces.Discrete):
        return (rng.uniform(keys, 1)[:, 0] * int(space.n)).long()
    return (2.4 * rng.uniform(keys, space.shape[0]) - 1.2).to(torch.float32)  # some are clipped


def play(env, num_steps, first=0):
    """Every field of every step, each `(T, N, …)`."""
    steps = [env.step(scripted_actions(env, t)) for t in range(first, first + num_steps)]
    names = [field.name for field in dataclasses.fields(steps[0])]
    return {name: torch.stack([getattr(step, name) for step in steps]) for name in names}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert (a[name] is b[name] is None) or torch.equal(a[name], b[name]), name


def stopwatch_steps(env):
    """World 0 never stops; world 1 stops at every second step, world 2 at its third."""
    actions_TN = torch.tensor(
        [[0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0]]
    )
    return [env.reset(0), *(env.step(action) for action in actions_TN)]


def rows(steps, name):
    """Column `name` by world: three lists over time."""
    return torch.stack([getattr(step, name).flatten() for step in steps], dim=1).int().tolist()


# Worked by hand: episodes of at most 3 steps, 2 per trial, time 0 is the reset.
#   world 0  truncated at 3 and 6;              trial ends at 6
#   world 1  terminated at 2, 4 and 6;          trial ends at 4, the next goes on after 6
#   world 2  terminated at 3 (not truncated, although the limit falls there too), truncated at 6
BY_HAND = {
    "observation": [
        [10, 11, 12, 20, 21, 22, 30, 31],
        [10, 11, 20, 21, 30, 31, 40, 41],
        [10, 11, 12, 20, 21, 22, 30, 31],
    ],
    "final_observation": [
        [10, 11, 12, 13, 21, 22, 23, 31],
        [10, 11, 12, 21, 22, 31, 32, 41],
        [10, 11, 12, 13, 21, 22, 23, 31],
    ],
    "episode_start": [
        [1, 0, 0, 1, 0, 0, 1, 0],
        [1, 0, 1, 0, 1, 0, 1, 0],
        [1, 0, 0, 1, 0, 0, 1, 0],
    ],
    "trial_start": [
        [1, 0, 0, 0, 0, 0, 1, 0],
        [1, 0, 0, 0, 1, 0, 0, 0],
        [1, 0, 0, 0, 0, 0, 1, 0],
    ],
    "trial_end": [  # as trial_start, but nothing ends at the reset
        [0, 0, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 1, 0],
    ],
    "terminated": [
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 1, 0, 1, 0, 1, 0],
        [0, 0, 0, 1, 0, 0, 0, 0],
    ],
    "truncated": [
        [0, 0, 0, 1, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 1, 0],
    ],
    "reward": [  # the observation acted on
        [0, 10, 11, 12, 20, 21, 22, 30],
        [0, 10, 11, 20, 21, 30, 31, 40],
        [0, 10, 11, 12, 20, 21, 22, 30],
    ],
    "previous_reward": [  # the same, but 0 where a trial starts; kept across inner resets
        [0, 10, 11, 12, 20, 21, 0, 30],
        [0, 10, 11, 20, 0, 30, 31, 40],
        [0, 10, 11, 12, 20, 21, 0, 30],
    ],
    "previous_action": [
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0, 1, 0],  # the 1 at time 4 is blanked by the trial's start
        [0, 0, 0, 1, 0, 0, 0, 0],
    ],
}


@pytest.mark.parametrize("name", BY_HAND)
def test_every_column_of_a_time_step_is_as_worked_by_hand(stopwatch, name):
    assert rows(stopwatch_steps(stopwatch), name) == BY_HAND[name]


def test_the_clock_shows_the_shares_of_episode_and_trial_that_have_passed(stopwatch):
    """In thirds of an episode and sixths of a trial; what an early end leaves out has passed."""
    clock_TN2 = torch.stack([step.clock for step in stopwatch_steps(stopwatch)])
    assert clock_TN2.dtype == torch.float32
    thirds, sixths = (clock_TN2 * torch.tensor([3.0, 6.0])).round(decimals=4).permute(2, 1, 0)
    assert thirds.tolist() == [
        [0, 1, 2, 0, 1, 2, 0, 1],
        [0, 1, 0, 1, 0, 1, 0, 1],
        [0, 1, 2, 0, 1, 2, 0, 1],
    ]
    assert sixths.tolist() == [
        [0, 1, 2, 3, 4, 5, 0, 1],
        [0, 1, 3, 4, 0, 1, 3, 4],
        [0, 1, 2, 3, 4, 5, 0, 1],
    ]


def test_returns_and_lengths_are_exact_and_each_trial_is_reported_once(stopwatch):
    stopwatch_steps(stopwatch)
    results = stopwatch.finished()
    # World 1 at time 4; worlds 0 and 2 at time 6, in the order of their index.
    assert results.worlds.tolist() == [1, 0, 2]
    assert results.returns.tolist() == [[10 + 11, 20 + 21], [33, 63], [33, 63]]
    assert results.lengths.tolist() == [[2, 2], [3, 3], [3, 3]]
    assert results.tasks.tolist() == [[0], [0], [0]]
    assert (results.returns.dtype, results.lengths.dtype) == (torch.float64, torch.int64)

    again = stopwatch.finished()
    assert (again.tasks.shape, again.returns.shape) == ((0, 1), (0, 2))
    assert (again.lengths.shape, again.worlds.shape) == ((0, 2), (0,))
    # World 1's second trial began at time 4 and had episodes of steps (30, 31) and (40, 41).
    stopwatch.step(torch.tensor([0, 1, 0]))
    second = stopwatch.finished()
    assert second.worlds.tolist() == [1]
    assert second.returns.tolist() == [[61, 81]]


def test_a_step_leaves_the_masks_of_earlier_steps_alone(stopwatch):
    """Rollouts keep the tensors of each step."""
    steps = stopwatch_steps(stopwatch)
    seen = [{k: v.clone() for k, v in vars(step).items()} for step in steps]
    for t in range(8):
        stopwatch.step(torch.tensor([1, t % 2, 0]))
    for step, copy in zip(steps, seen, strict=True):
        assert_same(vars(step), copy)


def test_the_reward_carries_the_hidden_task(stopwatch):
    """The same steps with bonus 100: each reward is 100 higher, so tasks reach their worlds."""
    bonus = torch.tensor([[0.0], [100.0], [0.0]]).double()
    env = TrialEnv("Stopwatch", 3, task_source=FixedTasks(bonus))
    rewards = rows(stopwatch_steps(env), "reward")
    plain = rows(stopwatch_steps(stopwatch), "reward")
    assert rewards[1][1:] == [reward + 100 for reward in plain[1][1:]]
    assert [rewards[0], rewards[2]] == [plain[0], plain[2]]


def test_a_reset_forgets_unfinished_and_unreported_trials(stopwatch):
    stopwatch_steps(stopwatch)
    stopwatch.reset(0)
    assert len(stopwatch.finished().worlds) == 0
    for _ in range(6):
        stopwatch.step(torch.zeros(3, dtype=torch.int64))
    assert stopwatch.finished().lengths.tolist() == [[3, 3]] * 3


def test_point_goal_returns_are_the_sum_of_distances_by_hand():
    """Goal (0.3, 0.4), H = 2, K = 2. Standing: −0.5 twice. Then one step of +x and one back."""
    goal = torch.tensor([[0.3, 0.4]], dtype=torch.float64)
    env = TrialEnv("PointGoal", 1, episode_length=2, task_source=FixedTasks(goal))
    env.reset(0)
    for action in ([0.0, 0.0], [0.0, 0.0], [3.0, 0.0], [-1.0, 0.0]):  # 3 is clipped to 1
        step = env.step(torch.tensor([action]))
    second = -((0.2**2 + 0.4**2) ** 0.5) - 0.5
    assert env.finished().returns[0].tolist() == pytest.approx([-1.0, second])
    assert float(step.reward) == pytest.approx(-0.5)


def test_actions_are_reported_as_applied():
    env = TrialEnv("PointGoal", 2, episode_length=5)
    env.reset(0)
    step = env.step(torch.tensor([[3.0, -0.25], [-7.0, 1.0]]))
    assert step.previous_action.tolist() == [[1.0, -0.25], [-1.0, 1.0]]
    assert step.observation.tolist() == pytest.approx(0.1 * step.previous_action.numpy())


def test_types_and_shapes_of_a_time_step_are_as_documented():
    for name in ("AntDir", "ProbeArm"):
        env = TrialEnv(name, 3)
        size = env.family.observation_space.shape[0]
        for step in (env.reset(0), env.step(scripted_actions(env, 0))):
            assert step.observation.shape == step.final_observation.shape == (3, size)
            for field in ("observation", "final_observation", "previous_reward", "reward"):
                assert getattr(step, field).dtype == torch.float32
            for field in ("episode_start", "trial_start", "terminated", "truncated", "trial_end"):
                assert getattr(step, field).dtype == torch.bool
                assert getattr(step, field).shape == (3,)
            assert step.previous_action.shape == env.blank_action.shape
            assert step.previous_action.dtype == env.blank_action.dtype
    assert env.blank_action.dtype == torch.int64
    assert TrialEnv("AntDir", 3).blank_action.shape == (3, 8)


def test_defaults_come_from_the_registry():
    env = TrialEnv("SparsePointGoal", 1)
    assert (env.episode_length, env.episodes_per_trial, env.trial_length) == (20, 5, 100)


def test_a_task_is_constant_within_a_trial_and_new_in_the_next():
    env = TrialEnv("PointGoal", 4, episode_length=2, episodes_per_trial=3)
    env.reset(5)
    tasks = env.tasks.clone()
    for t in range(24):
        step = env.step(scripted_actions(env, t))
        changed = (env.tasks != tasks).any(dim=1)
        assert torch.equal(changed, step.trial_start)
        assert bool(step.trial_start.all()) == (t % 6 == 5)
        tasks = env.tasks.clone()


def test_finished_trials_name_the_task_they_were_played_on():
    env = TrialEnv("PointGoal", 4, episode_length=2, episodes_per_trial=2)
    env.reset(5)
    for _ in range(3):
        tasks = env.tasks.clone()
        rewards = play(env, 4)["reward"].double()
        results = env.finished()
        assert torch.equal(results.tasks, tasks)
        expected = torch.stack([rewards[:2].sum(0), rewards[2:].sum(0)], dim=1)
        torch.testing.assert_close(results.returns, expected, rtol=0, atol=1e-6)  # float32 rewards


def test_tasks_are_a_pure_function_of_seed_world_and_trial_number():
    env = TrialEnv("PointGoal", 3, episode_length=1, episodes_per_trial=1)
    env.reset(8)
    keys = rng.world_keys(8, rng.Stream.TASK, 3)
    for trial in range(4):
        expected = env.family.task_space.sample("train", rng.fold_in(keys, trial))
        assert torch.equal(env.tasks, expected)
        env.step(scripted_actions(env, trial))


def test_a_sampled_source_draws_from_its_split():
    source = SampledTasks(TrialEnv("PointGoal", 1).family.task_space, "ood")
    env = TrialEnv("PointGoal", 50, task_source=source)
    env.reset(0)
    assert bool(env.family.task_space.contains("ood", env.tasks).all())


# --- a task that switches ---------------------------------------------------------------------


def test_the_task_switches_at_its_episode_and_back_with_the_next_trial(stopwatch):
    """K = 4, switch at episode 3: tasks 0, 0, 1, 1 of the list, then the next trial: 0, 0, …"""
    listed = torch.tensor([[0.0], [100.0], [7.0]]).double()
    env = TrialEnv(
        "Stopwatch",
        3,
        episode_length=1,
        episodes_per_trial=4,
        switch_episode=3,
        task_source=FixedTasks(listed),
    )
    env.reset(0)
    played = []
    for _ in range(6):
        played.append(env.tasks[:, 0].tolist())
        env.step(torch.zeros(3, dtype=torch.int64))
    first, then = [0.0, 100.0, 7.0], [100.0, 7.0, 0.0]
    assert played == [first, first, then, then, first, first]
    results = env.finished()
    assert torch.equal(results.tasks, listed)  # what each trial began with
    # The stopwatch shows 10, 20, 30, 40 in the four episodes; the bonus is added.
    assert results.returns[0].tolist() == [10.0, 20.0, 130.0, 140.0]


def test_sampled_tasks_switch_to_an_independent_draw_and_leave_the_first_unchanged():
    trial = {"episode_length": 1, "episodes_per_trial": 2}
    plain, switching = (
        TrialEnv("PointGoal", 200, switch_episode=switch, **trial) for switch in (None, 2)
    )
    for env in (plain, switching):
        env.reset(4)
    assert torch.equal(plain.tasks, switching.tasks)
    before = switching.tasks.clone()
    switching.step(torch.zeros(200, 2))
    after = switching.tasks
    assert bool((before != after).all())
    assert bool(switching.family.task_space.contains("train", after).all())
    correlation = torch.corrcoef(torch.cat([before, after], dim=1).T)[:2, 2:]
    assert float(correlation.abs().max()) < 0.25  # 3.5 standard errors of 200 draws


def test_a_switching_trial_continues_bit_for_bit_from_its_state():
    trial = {"episode_length": 2, "episodes_per_trial": 4, "switch_episode": 3}
    env, other = TrialEnv("PointGoal", 5, **trial), TrialEnv("PointGoal", 5, **trial)
    env.reset(1)
    play(env, 5)
    env.finished()
    other.reset(2)
    other.load_state_dict(env.state_dict())
    assert_same(play(env, 12, first=5), play(other, 12, first=5))
    assert torch.equal(env.finished().tasks, other.finished().tasks)


@pytest.mark.parametrize("episode", [0, 1, 3, -2])
def test_a_switch_outside_the_trial_is_refused(episode):
    with pytest.raises(ValueError, match="an episode from 2 to 2"):
        TrialEnv("PointGoal", 1, switch_episode=episode)


def test_episodes_of_a_trial_start_in_different_states():
    env = TrialEnv("HalfCheetahDir", 2, episode_length=1, episodes_per_trial=3)
    firsts = [
        env.reset(0).observation,
        *(env.step(torch.zeros(2, 6)).observation for _ in range(6)),
    ]
    assert len(torch.cat(firsts).unique(dim=0)) == 14  # 7 episodes in each of 2 worlds


@pytest.mark.parametrize("family", FAMILIES)
def test_world_i_is_the_same_among_3_worlds_and_among_8(family):
    few, many = (TrialEnv(family, n, episode_length=12, episodes_per_trial=2) for n in (3, 8))
    firsts = few.reset(4).observation, many.reset(4).observation[:3]
    assert torch.equal(*firsts)
    for _ in range(2):
        assert_same(play(few, 30), {k: v[:, :3] for k, v in play(many, 30).items()})
    assert torch.equal(few.tasks, many.tasks[:3])
    results, all_results = few.finished(), many.finished()
    assert_same(vars(results), vars(all_results.rows(all_results.worlds < 3)))


def test_world_i_of_ant_is_the_same_through_terminations_at_random_times():
    """Random torques make ants fall over (leave 0.2–1 m) at different times."""
    few, many = (TrialEnv("AntDir", n, episode_length=120) for n in (3, 8))
    few.reset(4), many.reset(4)
    for env in (few, many):
        env.family.engine.data["qvel"][:, 2] += torch.arange(env.num_worlds)  # thrown up, 0–7 m/s
    steps, all_steps = play(few, 200), play(many, 200)
    assert_same(steps, {k: v[:, :3] for k, v in all_steps.items()})
    ends = [tuple(column.nonzero().flatten().tolist()) for column in all_steps["terminated"].T]
    assert len(set(ends)) > 3  # worlds reset in many different orders
    assert bool(steps["terminated"].any())


def test_keys_make_a_worlds_trials_independent_of_its_place():
    keys = rng.world_keys(6, rng.Stream.EVALUATION, 4)
    env, mirrored = (TrialEnv("HalfCheetahVel", 4, episode_length=3) for _ in range(2))
    first, flipped = env.reset(keys), mirrored.reset(keys.flip(0))
    assert torch.equal(first.observation, flipped.observation.flip(0))
    for t in range(9):
        action = scripted_actions(env, t)
        step, other = env.step(action), mirrored.step(action.flip(0))
        assert torch.equal(step.observation, other.observation.flip(0))
        assert torch.equal(env.tasks, mirrored.tasks.flip(0))


def test_the_same_seed_twice_is_the_same_run_and_another_seed_is_not():
    env = TrialEnv("HalfCheetahVel", 2, episode_length=5)
    env.reset(1)
    first = play(env, 12)
    env.reset(1)
    assert_same(play(env, 12), first)
    env.reset(2)
    assert not torch.equal(play(env, 12)["observation"], first["observation"])


@pytest.mark.parametrize("family", FAMILIES)
def test_state_dict_continues_bit_for_bit_from_the_middle_of_a_trial(family):
    def make():
        return TrialEnv(family, 3, episode_length=9, episodes_per_trial=3)

    env = make()
    env.reset(2)
    play(env, 13)
    env.finished()
    state = env.state_dict()
    tasks = env.tasks.clone()
    expected = play(env, 40, first=13)  # must not change what was saved

    resumed = make()
    resumed.load_state_dict(state)
    assert torch.equal(resumed.tasks, tasks)
    assert_same(play(resumed, 40, first=13), expected)
    assert_same(vars(resumed.finished()), vars(env.finished()))
    assert_same(resumed.state_dict(), env.state_dict())


def test_state_dict_is_refused_while_finished_trials_would_be_lost():
    env = TrialEnv("ProbeValue", 1, episodes_per_trial=1)
    env.reset(0)
    play(env, 1)
    with pytest.raises(AssertionError, match="finished"):
        env.state_dict()


@pytest.mark.parametrize("family", ["HalfCheetahDir", "AntDir"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_diverged_world_ends_its_episode_with_zeros_and_is_counted(family, value):
    env, healthy = (TrialEnv(family, 3, episode_length=20, episodes_per_trial=3) for _ in range(2))
    env.reset(3), healthy.reset(3)
    play(env, 4), play(healthy, 4)
    env.family.engine.data["qvel"][1, 0] = value
    action = scripted_actions(env, 4)
    step, expected = env.step(action), healthy.step(action)

    assert step.terminated.tolist() == [False, True, False]
    assert step.episode_start.tolist() == [False, True, False]
    assert float(step.reward[1]) == float(step.previous_reward[1]) == 0.0
    assert not bool(step.final_observation[1].any())
    assert env.num_diverged == 1
    others = [0, 2]
    assert torch.equal(step.observation[others], expected.observation[others])
    assert torch.equal(step.reward[others], expected.reward[others])
    # The next episode starts healthy: the state its key says, which is not the defaults.
    assert bool(step.observation[1].isfinite().all())
    assert bool(step.observation[1].any())
    later, expected = play(env, 10), play(healthy, 10)
    assert all(bool(values.isfinite().all()) for values in later.values())
    assert torch.equal(later["reward"][:, others], expected["reward"][:, others])
    assert env.num_diverged == 1


def test_a_reset_starts_the_count_of_divergences_anew_and_a_state_dict_keeps_it():
    env = TrialEnv("HalfCheetahDir", 2)
    env.reset(0)
    env.family.engine.data["qpos"][:, 1] = float("nan")
    env.step(torch.zeros(2, 6))
    assert env.num_diverged == 2
    resumed = TrialEnv("HalfCheetahDir", 2)
    resumed.load_state_dict(env.state_dict())
    assert resumed.num_diverged == 2
    env.reset(0)
    assert env.num_diverged == 0


@pytest.mark.parametrize("family", ["PointGoal", "HalfCheetahDir", "AntDir", "ProbeReach"])
def test_a_nan_action_ends_its_episode_and_never_reaches_rewards_or_agents(family):
    env = TrialEnv(family, 3, episode_length=4, episodes_per_trial=2)
    env.reset(0)
    action = torch.zeros_like(env.blank_action)
    action[1, 0] = float("nan")
    steps = [env.step(action), *(env.step(torch.zeros_like(action)) for _ in range(8))]
    assert bool(steps[0].terminated[1])
    assert float(steps[0].reward[1]) == 0.0
    assert env.num_diverged == 1
    for step in steps:
        assert all(bool(values.isfinite().all()) for values in vars(step).values())
    assert bool(env.finished().returns.isfinite().all())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"family": "HalfCheetaDir"},
            "Unknown family 'HalfCheetaDir'. Did you mean 'HalfCheetahDir'",
        ),
        ({"family": "halfcheetahvel"}, "Did you mean 'HalfCheetahVel'"),
        ({"family": "zzzzzz"}, "Unknown family 'zzzzzz'. Options: PointGoal"),
        ({"family": None}, "Unknown family None"),
        ({"family": ["AntDir"]}, "Unknown family"),
        ({"num_worlds": 0}, "num_worlds must be an integer of at least 1, got 0"),
        ({"num_worlds": 2.0}, "num_worlds .* got 2.0"),
        ({"num_worlds": True}, "num_worlds .* got True"),
        ({"episode_length": 0}, "episode_length .* at least 1, got 0"),
        ({"episode_length": "20"}, "episode_length .* got '20'"),
        ({"episodes_per_trial": 0}, "episodes_per_trial .* at least 1, got 0"),
        ({"episodes_per_trial": -3}, "episodes_per_trial .* got -3"),
        ({"episodes_per_trial": 1.5}, "episodes_per_trial .* got 1.5"),
        ({"device": "cuda:99"}, "Unknown device 'cuda:99'. .*Options: " + ", ".join(DEVICES)),
        ({"device": "cpuu"}, "Unknown device 'cpuu'. Did you mean 'cpu'"),
        ({"device": 3}, "Unknown device 3"),
    ],
)
def test_bad_arguments_are_refused_by_value_options_and_nearest_match(arguments, message):
    with pytest.raises(ValueError, match=message):
        TrialEnv(**({"family": "PointGoal", "num_worlds": 2} | arguments))


@pytest.mark.parametrize(
    "seed",
    ["1", 1.5, None, True, torch.zeros(2, dtype=torch.int64), torch.zeros(3), torch.tensor(1)],
    ids=repr,
)
def test_a_seed_is_an_integer_or_one_key_per_world(seed):
    env = TrialEnv("PointGoal", 3)
    with pytest.raises(ValueError, match="seed must be an integer or int64 keys"):
        env.reset(seed)


def test_an_unknown_split_is_refused_before_anything_runs():
    space = TrialEnv("AntDir", 1).family.task_space
    with pytest.raises(ValueError, match=r"Unknown split 'tset'\. Did you mean 'test'\?"):
        SampledTasks(space, "tset")
