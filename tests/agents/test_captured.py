"""Acting by replay: as plain steps, to the bit, and refused where that would not be so.

There is no CUDA graph without CUDA. `RecordedOperations` stands in: it takes down every torch
operation of a step with the tensors it was given, and replays them on these very tensors. What a
step would find elsewhere by then, or what its Python would do differently, is lost on it, as it is
on a CUDA graph. Physics are no torch operations: for them, `CallAgain` makes each replay a call.

Shape legend: T time, B worlds.
"""

import contextlib
import dataclasses
import functools

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import quickstudy.envs.family
from quickstudy.agents.agent import Agent, AgentConfig
from quickstudy.agents.captured import WARM_UP, CapturedActor
from quickstudy.agents.fixed_places import CaptureError, FixedPlaces, survey
from quickstudy.agents.models import GRUConfig
from quickstudy.agents.registry import AGENTS
from quickstudy.agents.rollout import Actor, Rollout
from quickstudy.curricula.curriculum import Curriculum
from quickstudy.curricula.teachers import make_teacher
from quickstudy.envs.devices import Device, find_device
from quickstudy.envs.registry import family_class
from quickstudy.envs.trials import TrialEnv

B = 5
TRIAL = {"episode_length": 4, "episodes_per_trial": 2}
NOT_PER_STEP = {"first_state", "practise"}
PER_STEP = [f.name for f in dataclasses.fields(Rollout) if f.name not in NOT_PER_STEP]
NOT_PEEKING = Device("cpu", torch.device("cpu"), "batch", peeks=False)
no_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs CUDA, and torch sees no GPU"
)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# --- stand-ins for a CUDA graph ---------------------------------------------------------------


class CallAgain:
    """Each replay is a call."""

    def warm_up(self):
        return contextlib.nullcontext()

    def record(self, step):
        self.replay = step


class RecordedOperations(TorchDispatchMode):
    """Replays torch's operations on the tensors that they were recorded with."""

    def warm_up(self):
        return contextlib.nullcontext()

    def record(self, step):
        self.calls, self.saved, self.own = [], {}, set()
        with self.no_host_reads(), self:
            step()
        for storage, content in self.saved.values():
            storage.copy_(content)

    def replay(self):
        for func, args, kwargs, results in self.calls:
            given = storages((args, kwargs))
            for old, new in zip(tensors(results), tensors(func(*args, **kwargs)), strict=True):
                if address(old) not in given:
                    old.copy_(new)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        self._save_what_it_writes(func, args, kwargs)
        results = func(*args, **kwargs)
        self.own |= storages(results) - storages((args, kwargs))
        self.calls.append((func, args, kwargs, results))
        return results

    def _save_what_it_writes(self, func, args, kwargs):
        """Recording takes no effect: what was there before comes back afterwards."""
        for index, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                value = args[index] if index < len(args) else kwargs.get(argument.name)
                for tensor in tensors(value):
                    if address(tensor) not in self.own | set(self.saved):
                        storage = tensor.untyped_storage()
                        self.saved[address(tensor)] = storage, storage.clone()


def tensors(tree):
    return [x for x in tree_leaves(tree) if isinstance(x, torch.Tensor)]


def address(tensor):
    return tensor.untyped_storage().data_ptr()


def storages(tree):
    return {address(tensor) for tensor in tensors(tree)}


@pytest.fixture(name="recorded")
def _recorded(no_host_reads):
    def make():
        graph = RecordedOperations()
        graph.no_host_reads = no_host_reads
        return graph

    return make


# --- actors -----------------------------------------------------------------------------------


def make_actor(cls, family, agent=None, device="warp-cpu", source=None, **options):
    """An actor whose agent depends strongly on all that it reads."""
    config = agent or AgentConfig(GRUConfig(16), embedding_size=16, head_size=16)
    reveal = config.sees_task
    env = TrialEnv(family, B, device=device, reveal_task=reveal, task_source=source, **TRIAL)
    space = env.family.action_space
    made = Agent(config, env.observation_size, space, seed=0, horizon=env.trial_length)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    made.memory.peeks = False
    made.place(dataclasses.replace(find_device(device), peeks=False))
    return cls.start(made, env, seed=5, **options)


def captured_actor(make_graph, *args, **options):
    actor = make_actor(CapturedActor, *args, **options)
    actor.make_graph = make_graph
    return actor


def stagger(actor):
    """Put the worlds' clocks apart, so that their episodes and trials end at different steps."""
    env, worlds = actor.env, torch.arange(B)
    state = env.state_dict()
    state["episode"] = worlds % env.episodes_per_trial
    step = worlds % env.episode_length
    in_trial = step + state["episode"] * env.episode_length
    state["elapsed"] = torch.stack([step, in_trial], dim=1)
    env.load_state_dict(state)


def learn(actor):
    """Change the weights and the moments in place, as an update does."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in actor.agent.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
        size = len(actor.agent.moments.mean_F)
        actor.agent.moments.update(torch.randn(7, size, generator=generator))


def assert_equal(rollout, expected):
    for name in PER_STEP:
        assert torch.equal(getattr(rollout, name), getattr(expected, name)), name
    for rows, expected_rows in zip(rollout.first_state, expected.first_state, strict=True):
        assert torch.equal(rows, expected_rows)


def assert_alike(captured, plain, num_steps=11):
    """Three rollouts with learning in between, results and states included."""
    for actor in (captured, plain):
        stagger(actor)
    for _ in range(3):
        assert_equal(captured.collect(num_steps), plain.collect(num_steps))
        results, expected = captured.env.finished(), plain.env.finished()
        assert len(expected.worlds) > 0
        for field in dataclasses.fields(results):
            found, wanted = getattr(results, field.name), getattr(expected, field.name)
            assert found is wanted or torch.equal(found, wanted), field.name
        learn(captured)
        learn(plain)
    for name, rows in plain.env.state_dict().items():
        assert torch.equal(captured.env.state_dict()[name], rows), name


# --- as plain steps ---------------------------------------------------------------------------


@pytest.mark.parametrize("open_ended", [False, True], ids=["known horizon", "open-ended"])
@pytest.mark.parametrize("family", ["PointGoal", "ProbeRecall", "GridNavi", "Bandit5"])
def test_replayed_operations_act_as_plain_steps(family, open_ended, recorded):
    captured = captured_actor(recorded, family, open_ended=open_ended)
    assert_alike(captured, make_actor(Actor, family, open_ended=open_ended))


@pytest.mark.parametrize("name", AGENTS)
def test_every_agent_acts_as_in_plain_steps(name, recorded):
    captured = captured_actor(recorded, "PointGoal", AGENTS[name])
    assert_alike(captured, make_actor(Actor, "PointGoal", AGENTS[name]))


@pytest.mark.parametrize("name", AGENTS)
def test_every_agent_acts_as_in_plain_steps_on_physics(name, monkeypatch):
    monkeypatch.setattr(quickstudy.envs.family, "find_device", lambda _: NOT_PEEKING)
    captured = captured_actor(CallAgain, "HalfCheetahVel", AGENTS[name], "cpu")
    assert_alike(captured, make_actor(Actor, "HalfCheetahVel", AGENTS[name], "cpu"))


def test_other_lengths_and_short_rollouts(recorded):
    captured, plain = captured_actor(recorded, "PointGoal"), make_actor(Actor, "PointGoal")
    for num_steps in (WARM_UP, 6, 6, 9, 1, 9):
        assert_equal(captured.collect(num_steps), plain.collect(num_steps))


def test_new_trials_and_loaded_states_are_taken_over(recorded):
    captured, plain = captured_actor(recorded, "PointGoal"), make_actor(Actor, "PointGoal")
    saved = plain.env.state_dict(), plain.time_step, tuple(r.clone() for r in plain.state)
    for actor in (captured, plain):
        actor.collect(8)
        actor.env.finished()
        actor.time_step = actor.env.reset(99)
    assert_equal(captured.collect(8), plain.collect(8))
    for actor in (captured, plain):
        actor.env.finished()
        actor.env.load_state_dict(saved[0])
        actor.time_step, actor.state = saved[1], tuple(rows.clone() for rows in saved[2])
    graph = captured.captured
    assert_equal(captured.collect(8), plain.collect(8))
    assert captured.captured is graph, "nothing here should need another graph"


def test_a_teachers_new_plan_is_followed_without_another_graph(recorded):
    """The tasks of its levels lie where the graph reads them."""

    def curriculum():
        space = family_class("PointGoal").task_space
        return Curriculum(make_teacher("random", 2, seed=3), space, B)

    taught = [curriculum(), curriculum()]
    captured = captured_actor(recorded, "PointGoal", source=taught[0].source)
    plain = make_actor(Actor, "PointGoal", source=taught[1].source)
    for _ in range(3):
        assert_equal(captured.collect(8), plain.collect(8))
        for actor, teaching in zip((captured, plain), taught, strict=True):
            trials = actor.env.finished()
            teaching.observe(trials.worlds, trials.returns[:, 0])
        assert torch.equal(captured.env.tasks, plain.env.tasks)
    graph = captured.captured
    assert_equal(captured.collect(8), plain.collect(8))
    assert captured.captured is graph


def test_a_constant_changed_between_rollouts_takes_another_graph(recorded):
    captured, plain = captured_actor(recorded, "PointGoal"), make_actor(Actor, "PointGoal")
    for actor in (captured, plain):
        actor.collect(8)
        actor.env.switch_episode = 2
    graph = captured.captured
    assert_equal(captured.collect(8), plain.collect(8))
    assert captured.captured is not graph


def test_the_next_rollout_is_written_over_the_last(recorded):
    """That is the price of fixed addresses, and documented."""
    actor = captured_actor(recorded, "PointGoal")
    first = actor.collect(8)
    assert actor.collect(8).observation.data_ptr() == first.observation.data_ptr()


def test_a_peeking_device_is_refused():
    with pytest.raises(AssertionError, match="cannot be captured"):
        make_actor(CapturedActor, "PointGoal", device="cpu")


# --- what cannot be replayed is refused -------------------------------------------------------


def counting(actor):
    """A family with a number in it that grows with each step."""
    family, advance = actor.env.family, actor.env.family._advance
    family.counter = 0

    def count_and_advance(action):
        family.counter += 1
        return advance(action)

    family._advance = count_and_advance


def alternating(actor):
    """A family that replaces a tensor at every fourth step."""
    family, advance = actor.env.family, actor.env.family._advance
    family.kept, steps = torch.zeros(B), iter(range(100))

    def replace_and_advance(action):
        if next(steps) % 4 == 3:
            family.kept = family.kept + 1
        return advance(action)

    family._advance = replace_and_advance


def growing(actor):
    """A family that keeps all it has seen."""
    family, advance = actor.env.family, actor.env.family._advance
    family.seen = []

    def keep_and_advance(action):
        family.seen.append(action)
        return advance(action)

    family._advance = keep_and_advance


@pytest.mark.parametrize(
    ("tampered", "message"),
    [
        (counting, r"env\.family\.counter changes from step to step"),
        (growing, r"env\.family\.seen\[\d\] changes from step to step"),
        (alternating, r"env\.family\.kept is replaced in some steps"),
    ],
)
def test_what_is_left_out_is_named(tampered, message, recorded):
    actor = captured_actor(recorded, "PointGoal")
    tampered(actor)
    with pytest.raises(CaptureError, match=message):
        actor.collect(8)


def test_a_look_is_refused(recorded):
    """The stand-in refuses it, as CUDA does."""
    actor = captured_actor(recorded, "PointGoal")
    actor.env.peeks = True
    with pytest.raises(AssertionError, match=r"_local_scalar_dense|is_nonzero"):
        actor.collect(8)


class Holder:
    """Something with attributes of every kind."""

    def __init__(self):
        self.tensor = torch.zeros(2)
        self.pair = (torch.ones(1), 3)
        self.table = {"x": torch.ones(2), 7: [torch.zeros(1)]}
        self.inner = [Inner(), Inner()]
        self.itself = self


class Inner:
    def __init__(self):
        self.number = 5


def test_a_survey_finds_all_that_can_be_reached():
    leaves = {p for place in survey({"h": Holder()}).values() for p in place.leaves}
    assert leaves == {
        *("h.tensor", "h.pair[0]", "h.pair[1]", "h.table['x']", "h.table[7][0]"),
        *("h.inner[0]", "h.inner[1]", "h.inner[0].number", "h.inner[1].number", "h.itself"),
    }


def test_putting_back_keeps_containers_and_remakes_tuples():
    holder = Holder()
    places, table = survey({"h": holder}), holder.table
    places["h.table"].put([torch.full((2,), 4.0), torch.full((1,), 6.0)])
    places["h.pair"].put([torch.full((1,), 8.0)])
    assert holder.table is table
    assert (holder.table["x"].tolist(), holder.table[7][0].tolist()) == ([4.0, 4.0], [6.0])
    assert (holder.pair[0].tolist(), holder.pair[1]) == ([8.0], 3)


def test_tensors_that_change_places_are_not_overwritten_on_the_way():
    """x and y are swapped, and z holds a part of x: every value arrives, at its old address."""
    holder = Inner()

    def step():
        holder.x, holder.y, holder.z = holder.y, holder.x, holder.x[1:]

    holder.x, holder.y = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    holder.z = torch.zeros(1)
    look = functools.partial(survey, {"h": holder})
    before = look()
    step()  # x = 3 4, y = 1 2, z = 2
    places = FixedPlaces(look, before)
    addresses = [address(rows) for rows in (holder.x, holder.y, holder.z)]
    step()  # x = 1 2, y = 3 4, z = 4
    places.hold()
    values = [rows.tolist() for rows in (holder.x, holder.y, holder.z)]
    assert values == [[1.0, 2.0], [3.0, 4.0], [4.0]]
    assert [address(rows) for rows in (holder.x, holder.y, holder.z)] == addresses


# --- on a GPU ---------------------------------------------------------------------------------


@no_cuda
@pytest.mark.parametrize("family", ["PointGoal", "GridNavi"])
@pytest.mark.parametrize("name", AGENTS)
def test_cuda_replay_acts_as_plain_steps(name, family):
    captured = make_actor(CapturedActor, family, AGENTS[name], "cuda")
    plain = make_actor(Actor, family, AGENTS[name], "cuda")
    for _ in range(3):
        assert_equal(captured.collect(11), plain.collect(11))


@no_cuda
@pytest.mark.parametrize("family", ["PointGoal", "HalfCheetahVel"])
def test_cuda_rollouts_never_wait_for_the_device(family):
    captured = make_actor(CapturedActor, family, device="cuda")
    captured.collect(11)
    torch.cuda.synchronize()
    replayed, noise = captured.captured, captured.captured.storage.noise_TBA
    torch.cuda.set_sync_debug_mode("error")
    try:
        captured._settle()
        replayed.storage.rewind()
        captured._draw_noise(noise)
        for _ in range(11):
            replayed.graph.replay()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@no_cuda
def test_cuda_plain_steps_never_wait_for_the_device():
    plain = make_actor(Actor, "PointGoal", device="cuda")
    plain.collect(3)
    noise_BA = plain.agent.noise(plain.key_B)
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.no_grad():
            plain.act(noise_BA)
    finally:
        torch.cuda.set_sync_debug_mode("default")
