"""Trials on a device where each look would cost: the same numbers as with looks, and no look.

Shape legend: N worlds, T steps.
"""

import dataclasses

import pytest
import torch
from gymnasium import spaces

import quickstudy.envs.family
from quickstudy.envs import finished, rng, trials
from quickstudy.envs.devices import Device
from quickstudy.envs.families.probes import Probe
from quickstudy.envs.finished import BufferedRows, PickedRows
from quickstudy.envs.play import play_one_trial
from quickstudy.envs.projection import gram_schmidt, orthonormal
from quickstudy.envs.registry import FAMILIES, FamilyEntry
from quickstudy.envs.tasks import ListedTasks, Parameter
from quickstudy.envs.trials import FixedTasks, TimeStep, TrialEnv

N = 7
NOT_PEEKING = Device("cpu", torch.device("cpu"), "batch", peeks=False)
META = Device("cuda", torch.device("meta"), "warp", peeks=False)
FIELDS = [f.name for f in dataclasses.fields(TimeStep)]


class Falling(Probe):
    """Falls by chance, one time in five: a hash of the episode's key, the step and the action."""

    task_space = ListedTasks(Parameter("bonus", 0.0, 2.0, "1"), (0.0, 1.0, 2.0))

    def __init__(self, num_worlds, device="cpu"):
        super().__init__(num_worlds, device)
        self._key_N = torch.zeros(num_worlds, dtype=torch.int64, device=self.device)

    def _start_episode(self, mask_N, key_N):
        super()._start_episode(mask_N, key_N)
        self._key_N = torch.where(mask_N, key_N, self._key_N)

    def _reward(self, action):
        return self._sign_N * action + self.task_ND[:, 0]

    def _advance(self, action):
        outcome = super()._advance(action)
        chance_N = rng.uniform(rng.fold_in(self._key_N, self._step_N * 2 + action), 1)[:, 0]
        return dataclasses.replace(outcome, terminated=chance_N < 0.2)

    def _observe(self):
        return (self._step_N + 0.5 * self._sign_N).unsqueeze(1)

    def state_dict(self):
        return super().state_dict() | {"key": self._key_N.clone()}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self._key_N = state["key"].clone()


@pytest.fixture(autouse=True)
def _falling(monkeypatch):
    monkeypatch.setitem(FAMILIES, "Falling", FamilyEntry("test:Falling", 6, 3))
    make = trials.make_family

    def make_family(name, num_worlds, device="cpu", **options):
        if name != "Falling":
            return make(name, num_worlds, device, **options)
        return Falling(num_worlds, device)

    monkeypatch.setattr(trials, "make_family", make_family)


def act(env, step):
    keys = rng.fold_in(rng.world_keys(5, rng.Stream.ACTION, env.num_worlds, env.device), step)
    space = env.family.action_space
    if isinstance(space, spaces.Discrete):
        return (rng.uniform(keys, 1)[:, 0] * int(space.n)).long()
    return (2.4 * rng.uniform(keys, space.shape[0]) - 1.2).to(torch.float32)


def assert_same_results(found, wanted):
    for field in dataclasses.fields(wanted):
        a, b = getattr(found, field.name), getattr(wanted, field.name)
        assert a is b or torch.equal(a, b), field.name


def assert_alike(looking, other, steps):
    """Time steps, results and states of both, from wherever they are."""
    for step in steps:
        action = act(looking, step)
        wanted, found = looking.step(action), other.step(action)
        for name in FIELDS:
            assert torch.equal(getattr(found, name), getattr(wanted, name)), (step, name)
        if step % 50 == 49:
            assert_same_results(other.finished(), looking.finished())
    assert_same_results(other.finished(), looking.finished())
    state, wanted = other.state_dict(), looking.state_dict()
    assert set(state) == set(wanted)
    assert all(torch.equal(state[name], wanted[name]) for name in wanted)


CASES = {
    "fixed length": ("PointGoal", {"episode_length": 5, "episodes_per_trial": 2}),
    "falling": ("Falling", {}),
    "falling, switching": ("Falling", {"switch_episode": 2}),
    "shown the task": ("Falling", {"reveal_task": True}),
    "fixed tasks, switching": (
        "Falling",
        {"switch_episode": 3, "task_source": FixedTasks(torch.arange(N).view(N, 1) % 3.0)},
    ),
    "ends early": ("KeyToDoor", {"episode_length": 9, "episodes_per_trial": 2}),
    "hides the action": ("MemoryChain", {"episode_length": 6, "episodes_per_trial": 2}),
    "drawn worlds": ("TabularMDP", {"episode_length": 4, "episodes_per_trial": 3}),
    "random maps": ("ProjectedPointGoal", {"episode_length": 5, "episodes_per_trial": 2}),
}
each_case = pytest.mark.parametrize(("family", "trial"), CASES.values(), ids=CASES)


@each_case
def test_without_looks_all_numbers_are_the_same(family, trial):
    looking, other = (TrialEnv(family, N, device=d, **trial) for d in ("cpu", "warp-cpu"))
    assert (looking.peeks, other.peeks) == (True, False)
    wanted, found = looking.reset(3), other.reset(3)
    assert all(torch.equal(getattr(found, name), getattr(wanted, name)) for name in FIELDS)
    assert_alike(looking, other, range(300))


def test_without_looks_physics_are_the_same(monkeypatch):
    trial = {"episode_length": 6, "episodes_per_trial": 2}
    looking = TrialEnv("HalfCheetahVel", N, **trial)
    monkeypatch.setattr(quickstudy.envs.family, "find_device", lambda _: NOT_PEEKING)
    other = TrialEnv("HalfCheetahVel", N, **trial)
    looking.reset(3), other.reset(3)
    assert not other.peeks
    assert_alike(looking, other, range(60))


@each_case
def test_a_state_saved_on_one_device_goes_on_on_another(family, trial):
    for first, second in (("cpu", "warp-cpu"), ("warp-cpu", "cpu")):
        saved, loaded = (TrialEnv(family, N, device=d, **trial) for d in (first, second))
        saved.reset(3), loaded.reset(4)
        for step in range(17):
            saved.step(act(saved, step))
        saved.finished()
        loaded.load_state_dict(saved.state_dict())
        assert_alike(saved, loaded, range(17, 40))


@each_case
def test_a_step_looks_at_nothing(family, trial, no_host_reads):
    env = TrialEnv(family, N, device="warp-cpu", **trial)
    env.reset(3)
    actions = [act(env, step) for step in range(12)]
    env.step(actions[0])
    with no_host_reads():
        ended = [env.step(action).episode_start for action in actions[1:]]
    assert torch.stack(ended).any(), "no episode ended: little was tested"


@pytest.mark.parametrize("family", ["PointGoal", "GridNavi", "Bandit5", "ProjectedPointGoal"])
def test_a_step_stays_on_its_device(family, no_host_reads, monkeypatch):
    """Tensors on torch's `meta` device mix with no others, and have no values to look at."""
    monkeypatch.setattr(quickstudy.envs.family, "find_device", lambda _: META)
    env = TrialEnv(family, N, device="cuda", reveal_task=True)
    env.reset(3)
    action = act(env, 0)
    env.step(action)
    with no_host_reads():
        time_step = env.step(action)
    assert all(getattr(time_step, name).device.type == "meta" for name in FIELDS)


def test_diverged_steps_are_counted_on_the_device(no_host_reads):
    env = TrialEnv("PointGoal", N, device="warp-cpu")
    env.reset(0)
    action = act(env, 0)
    action[[1, 4]] = torch.nan
    with no_host_reads():
        env.step(action)
    assert env.num_diverged == 2
    env.reset(0)
    assert env.num_diverged == 0


@pytest.mark.parametrize("device", ["cpu", "warp-cpu"])
def test_one_trial_is_the_first_of_each_world(device):
    """In six steps without a look, a falling world may finish several."""

    class Player:
        def begin(self, env):
            self.env, self.step = env, 0

        def act(self, time_step):
            self.step += 1
            return act(self.env, self.step)

    env = TrialEnv("Falling", 40, device=device)
    played = play_one_trial(Player(), env, seed=3)
    reference = TrialEnv("Falling", 40)
    reference.reset(3)
    first = {}
    for step in range(1, 19):
        reference.step(act(reference, step))
        results = reference.finished()
        for row, world in enumerate(results.worlds.tolist()):
            first.setdefault(world, (results.returns[row], results.lengths[row]))
    assert played.worlds.tolist() == list(range(40))
    assert torch.equal(played.returns, torch.stack([first[w][0] for w in range(40)]))
    assert torch.equal(played.lengths, torch.stack([first[w][1] for w in range(40)]))


# --- the buffer -------------------------------------------------------------------------------

LIKE = {"x": torch.zeros(3, 2), "world": torch.zeros(3, dtype=torch.int64)}


def rows(number):
    return {"x": torch.full((3, 2), float(number)), "world": torch.arange(3)}


@pytest.mark.parametrize("make", [PickedRows, lambda like: BufferedRows(like, per_world=4)])
def test_rows_come_in_the_order_in_which_they_were_added(make):
    kept = make(LIKE)
    assert len(kept) == 0
    assert kept.take()["x"].shape == (0, 2)
    kept.add(torch.tensor([False, True, True]), rows(1))
    kept.add(torch.tensor([False, False, False]), rows(2))
    kept.add(torch.tensor([True, False, True]), rows(3))
    assert len(kept) == 4
    taken = kept.take()
    assert taken["x"].tolist() == [[1.0, 1.0], [1.0, 1.0], [3.0, 3.0], [3.0, 3.0]]
    assert taken["world"].tolist() == [1, 2, 0, 2]
    assert len(kept) == 0
    kept.add(torch.tensor([True, False, False]), rows(4))
    kept.clear()
    assert kept.take()["x"].shape == (0, 2)


def test_what_does_not_fit_is_counted_and_reported():
    """3 worlds, room for 1 trial each: of 5 trials 2 are missing, the last ones."""
    kept = BufferedRows(LIKE, per_world=1)
    assert kept.capacity == 3
    kept.add(torch.tensor([True, True, False]), rows(1))
    kept.add(torch.tensor([True, True, True]), rows(2))
    with pytest.warns(RuntimeWarning, match="2 of 5 finished trials are missing"):
        taken = kept.take()
    assert taken["world"].tolist() == [0, 1, 0]
    kept.add(torch.tensor([False, False, True]), rows(3))
    assert kept.take()["world"].tolist() == [2]


def test_the_buffer_is_bounded(monkeypatch):
    """Of 100 trials of 3 worlds, room for the larger of 60 and 16 · 3."""
    monkeypatch.setattr(finished, "MOST_ROWS", 60)
    assert BufferedRows(LIKE, per_world=100).capacity == 60
    monkeypatch.setattr(finished, "MOST_ROWS", 20)
    assert BufferedRows(LIKE, per_world=100).capacity == 48


# --- what a GPU computes in another way -------------------------------------------------------


@pytest.mark.parametrize("shape", [(12, 4), (6, 2), (5, 5), (3, 1)])
def test_gram_schmidt_gives_what_the_factorisation_gives(shape):
    noise = rng.normal(rng.fold_in(rng.root_key(1, rng.Stream.TASK), torch.arange(50)), 60)
    noise_NRC = noise[:, : shape[0] * shape[1]].reshape(50, *shape)
    q_NRC = gram_schmidt(noise_NRC)
    torch.testing.assert_close(q_NRC, orthonormal(noise_NRC), rtol=1e-9, atol=1e-9)
    eye = torch.eye(shape[1], dtype=torch.float64).expand(50, -1, -1)
    torch.testing.assert_close(q_NRC.mT @ q_NRC, eye, rtol=0.0, atol=1e-13)


def test_gram_schmidt_by_hand():
    """Of (3, 4) and (1, 0): (0.6, 0.8); (1, 0) − 0.6 · (0.6, 0.8) = (0.64, −0.48), 0.8 long."""
    q_NRC = gram_schmidt(torch.tensor([[[3.0, 1.0], [4.0, 0.0]]], dtype=torch.float64))
    expected = torch.tensor([[[0.6, 0.8], [0.8, -0.6]]], dtype=torch.float64)
    torch.testing.assert_close(q_NRC, expected)
