"""Collecting experience: what a rollout holds, and that cutting the stream changes nothing.

Shape legend: T time, B worlds, A action dimensions.
"""

from dataclasses import fields, replace

import pytest
import torch

from quickstudy.agents.agent import Agent, AgentConfig
from quickstudy.agents.models import GRUConfig
from quickstudy.agents.rollout import Actor, Rollout
from quickstudy.envs import rng
from quickstudy.envs.trials import TrialEnv

ACTOR_SEED = 5
PER_STEP = [f.name for f in fields(Rollout) if f.name not in {"first_state", "practise"}]
# One scan multiplies matrices of other shapes than T steps do: float32 rounding, measured 1e-6.
CLOSE = {"rtol": 1e-4, "atol": 2e-5}


@pytest.fixture(autouse=True)
def one_thread():
    """Small matrices are faster so, and sums have one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_agent(env: TrialEnv) -> Agent:
    """An agent whose outputs depend strongly on all that it reads (fresh policies hardly do)."""
    family = env.family
    config = AgentConfig(GRUConfig(16), embedding_size=16, head_size=16)
    agent = Agent(
        config, family.observation_space.shape[0], family.action_space, seed=0, horizon=20
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in agent.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return agent


def make_actor(
    family: str, num_worlds: int = 6, *, open_ended: bool = False, **trial: int
) -> Actor:
    env = TrialEnv(family, num_worlds, **trial)
    return Actor.start(make_agent(env), env, ACTOR_SEED, open_ended=open_ended)


def stagger(actor: Actor) -> Actor:
    """Put the worlds' clocks apart, so that their episodes and trials end at different steps."""
    env = actor.env
    state, worlds = env.state_dict(), torch.arange(env.num_worlds)
    state["episode"] = (worlds // 2) % env.episodes_per_trial
    step = worlds % env.episode_length
    in_trial = step + state["episode"] * env.episode_length
    state["elapsed"] = torch.stack([step, in_trial], dim=1)
    env.load_state_dict(state)
    return actor


def relive(rollout: Rollout, twin: Actor):
    """Take a rollout's actions in another actor's worlds, one agent step at a time.

    Yields t, what was seen at t, the agent's output, its memory afterwards, and what was seen next.
    """
    for t, action in enumerate(rollout.action):
        seen = twin.time_step
        output, twin.state = twin.agent.step(seen, twin.state)
        twin.time_step = twin.env.step(action)
        yield t, seen, output, twin.state, twin.time_step


CASES = {
    "discrete": ("ProbeRecall", {"episode_length": 4, "episodes_per_trial": 3}),
    "continuous": ("PointGoal", {"episode_length": 3, "episodes_per_trial": 2}),
    "MuJoCo": ("HalfCheetahVel", {"episode_length": 3, "episodes_per_trial": 2}),
}
each_case = pytest.mark.parametrize(("family", "trial"), CASES.values(), ids=CASES)


@each_case
@torch.no_grad()
def test_row_t_holds_what_was_seen_at_t_and_what_its_action_did(family, trial):
    rollout = stagger(make_actor(family, **trial)).collect(14)
    twin = stagger(make_actor(family, **trial))
    for t, seen, output, _, after in relive(rollout, twin):
        for name in ("observation", "previous_action", "previous_reward", "clock"):
            assert torch.equal(getattr(rollout, name)[t], getattr(seen, name)), name
        assert torch.equal(rollout.episode_start[t], seen.episode_start)
        assert torch.equal(rollout.trial_start[t], seen.trial_start)
        assert torch.equal(rollout.value[t], output.value)
        assert torch.equal(rollout.log_prob[t], output.policy.log_prob(rollout.action[t]))
        assert torch.equal(rollout.reward[t], after.reward)
        assert torch.equal(rollout.trial_end[t], after.trial_end)
    assert torch.equal(rollout.trial_end[:-1], rollout.trial_start[1:])
    assert rollout.trial_end.any(dim=0).all(), "each world should end a trial here"
    assert not rollout.trial_end.all(dim=1).any(), "and not all at once"


def test_a_rollout_holds_no_graph():
    rollout = make_actor("ProbeRecall").collect(3)
    assert not any(getattr(rollout, name).requires_grad for name in PER_STEP)
    assert not any(rows.requires_grad for rows in rollout.first_state)


@each_case
def test_where_the_stream_is_cut_changes_nothing(family, trial):
    """12 steps are 5 + 4 + 3 steps, to the bit: actions, values, and the values that follow."""
    whole = stagger(make_actor(family, **trial)).collect(12)
    actor = stagger(make_actor(family, **trial))
    parts = [actor.collect(count) for count in (5, 4, 3)]
    for name in PER_STEP:
        joined = torch.cat([getattr(part, name) for part in parts])
        assert torch.equal(joined, getattr(whole, name)), name


@each_case
def test_rollouts_of_half_a_trial_give_the_log_probs_of_one_scan(family, trial):
    """Memory is carried: each half is scanned from its `first_state`, or the whole at once."""
    actor = stagger(make_actor(family, **trial))
    half = actor.env.trial_length // 2
    parts = [actor.collect(half) for _ in range(4)]
    agent = actor.agent
    for part in parts:
        output = agent.scan(agent.token(part), part.trial_start, part.first_state)
        torch.testing.assert_close(output.policy.log_prob(part.action), part.log_prob, **CLOSE)
        torch.testing.assert_close(output.value, part.value, **CLOSE)
    token_TBF = torch.cat([agent.token(part) for part in parts])
    start_TB = torch.cat([part.trial_start for part in parts])
    output = agent.scan(token_TBF, start_TB, parts[0].first_state)
    log_prob_TB = output.policy.log_prob(torch.cat([part.action for part in parts]))
    torch.testing.assert_close(log_prob_TB, torch.cat([p.log_prob for p in parts]), **CLOSE)


def test_first_state_is_the_memory_before_the_first_step():
    """Blank at the start; later what the previous rollout left, which a blank one is not."""
    actor = make_actor("ProbeRecall")
    first = actor.collect(3)
    left = actor.state
    second = actor.collect(3)
    assert not any(rows.any() for rows in first.first_state)
    assert all(torch.equal(a, b) for a, b in zip(second.first_state, left, strict=True))
    assert all(rows.any() for rows in second.first_state)


@each_case
@pytest.mark.parametrize("open_ended", [False, True], ids=["known horizon", "open-ended"])
def test_within_a_trial_the_next_value_is_the_next_steps_value(family, trial, open_ended):
    """Also across the ends of inner episodes, and across the end of the rollout."""
    actor = stagger(make_actor(family, open_ended=open_ended, **trial))
    rollout, following = actor.collect(13), actor.collect(1)
    value_TB = torch.cat([rollout.value, following.value])
    inside_TB = ~rollout.trial_end
    assert torch.equal(rollout.next_value[inside_TB], value_TB[1:][inside_TB])
    crossed_TB = inside_TB[:-1] & rollout.episode_start[1:]
    assert crossed_TB.any(), "some inner episode should have ended"


@each_case
def test_with_a_known_horizon_nothing_follows_a_trial(family, trial):
    rollout = stagger(make_actor(family, **trial)).collect(13)
    assert rollout.trial_end.any()
    assert not rollout.next_value[rollout.trial_end].any()


@pytest.mark.parametrize(
    ("family", "trial"),
    [*CASES.values(), ("ProbeDelay", {"episode_length": 2, "episodes_per_trial": 1})],
    ids=[*CASES, "both endings"],
)
@torch.no_grad()
def test_open_ended_a_cut_trial_is_worth_its_true_final_observation(family, trial):
    """By hand: the old memory reads the final observation, the applied action and its reward.

    Where the task itself ended the episode (`terminated`), nothing follows.
    """
    rollout = stagger(make_actor(family, open_ended=True, **trial)).collect(14)
    twin = stagger(make_actor(family, **trial))
    cuts = 0
    for t, seen, _, memory, after in relive(rollout, twin):
        applied = rollout.action[t]
        if applied.is_floating_point():
            applied = applied.clamp(-1, 1)
        final = replace(
            seen,
            observation=after.final_observation,
            previous_action=applied,
            previous_reward=after.reward,
            episode_start=torch.zeros_like(seen.episode_start),
            trial_start=torch.zeros_like(seen.trial_start),
            clock=torch.ones_like(seen.clock),
        )
        expected_B = twin.agent.step(final, memory)[0].value
        cut_B, over_B = after.trial_end & ~after.terminated, after.trial_end & after.terminated
        assert torch.equal(rollout.next_value[t][cut_B], expected_B[cut_B])
        assert not rollout.next_value[t][over_B].any()
        cuts += int(cut_B.sum())
    assert cuts > 0, "no trial was cut: nothing was tested"


@torch.no_grad()
def test_the_case_of_both_endings_has_both():
    """The parametrisation above meets a terminated and a truncated trial end."""
    trial = {"episode_length": 2, "episodes_per_trial": 1}
    rollout = stagger(make_actor("ProbeDelay", open_ended=True, **trial)).collect(14)
    endings = [
        (bool((a.trial_end & a.terminated).any()), bool((a.trial_end & a.truncated).any()))
        for *_, a in relive(rollout, stagger(make_actor("ProbeDelay", **trial)))
    ]
    assert any(over for over, _ in endings)
    assert any(cut for _, cut in endings)


@each_case
def test_a_world_does_not_depend_on_how_many_there_are(family, trial):
    """Worlds 0–2 of 3 and of 8 act alike.

    Not to the bit: a matrix product of 3 rows may add in another order than one of 8, and the
    difference (1e-7) grows along the trial, in the physics above all.
    """
    few = make_actor(family, 3, **trial).collect(10)
    many = make_actor(family, 8, **trial).collect(10)
    for name in PER_STEP:
        torch.testing.assert_close(
            getattr(few, name), getattr(many, name)[:, :3], rtol=1e-3, atol=1e-4
        )


def test_noise_is_a_function_of_seed_world_and_step():
    """What was added to the mean is the normal draw of the world's key at that step alone."""
    actor = make_actor("PointGoal", 4)
    parts = [actor.collect(6), actor.collect(6)]
    key_B = rng.world_keys(ACTOR_SEED, rng.Stream.ACTION, 4)
    step_T1 = torch.arange(12).unsqueeze(1)
    expected_TBA = rng.normal(rng.fold_in(key_B, step_T1), 2).float()
    agent = actor.agent
    policies = [agent.scan(agent.token(p), p.trial_start, p.first_state).policy for p in parts]
    mean_TBA = torch.cat([policy.mode() for policy in policies])
    action_TBA = torch.cat([part.action for part in parts])
    noise_TBA = (action_TBA - mean_TBA) / agent.log_std_A.exp()
    torch.testing.assert_close(noise_TBA, expected_TBA, rtol=1e-3, atol=1e-4)
    assert len(noise_TBA.reshape(-1, 2).unique(dim=0)) == 12 * 4


@each_case
def test_another_seed_gives_other_actions(family, trial):
    env = TrialEnv(family, 6, **trial)
    agent = make_agent(env)
    first, second = (Actor.start(agent, env, seed).collect(8) for seed in (1, 2))
    assert not torch.equal(first.action, second.action)


@each_case
def test_an_actor_copied_in_the_middle_of_a_trial_goes_on_to_the_bit(family, trial):
    """Its worlds' `state_dict`, time step, memory, keys and step count are all there is."""
    actor = stagger(make_actor(family, **trial))
    actor.collect(7)
    actor.env.finished()
    env = TrialEnv(family, 6, **trial)
    env.load_state_dict(actor.env.state_dict())
    copy = Actor(actor.agent, env, actor.time_step, actor.state, actor.key_B, actor.step_count)
    rollout, again = actor.collect(9), copy.collect(9)
    for name in PER_STEP:
        assert torch.equal(getattr(rollout, name), getattr(again, name)), name
    results, copied = actor.env.finished(), env.finished()
    assert len(results.returns) > 0
    assert torch.equal(results.returns, copied.returns)
    assert torch.equal(results.tasks, copied.tasks)
