"""Families behind random maps: the maps, their tasks, and the suite of many bodies."""

import math

import pytest
import torch

from quickstudy.envs import rng
from quickstudy.envs.dmc.projected import ENVIRONMENTS
from quickstudy.envs.families.bandits import Bandit2
from quickstudy.envs.families.half_cheetah_vel import HalfCheetahVel
from quickstudy.envs.families.memory_chain import MemoryChain
from quickstudy.envs.families.point_goal import PointGoal
from quickstudy.envs.families.projected_dmc import ProjectedDMC, ProjectedDMCBodies
from quickstudy.envs.families.projected_point_goal import ProjectedPointGoal
from quickstudy.envs.projection import Projected, ProjectedTasks, random_maps
from quickstudy.envs.registry import make_family
from quickstudy.envs.trials import FixedTasks, TrialEnv


def keys(count, seed=0):
    return rng.world_keys(seed, rng.Stream.TASK, count)


def everywhere(count):
    return torch.ones(count, dtype=torch.bool)


def start(family, task_ND, seed=0):
    count = len(task_ND)
    family.reset(everywhere(count), task_ND, rng.world_keys(seed, rng.Stream.EPISODE, count))
    return family


# --- maps -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "columns"), [(12, 5), (12, 12), (2, 2), (1, 2), (6, 2), (12, 17)])
def test_orthogonal_maps_have_orthonormal_columns_or_rows(rows, columns):
    maps = random_maps("orthogonal", keys(50), rows, columns)
    assert maps.shape == (50, rows, columns)
    gram = maps.mT @ maps if rows >= columns else maps @ maps.mT
    torch.testing.assert_close(gram, torch.eye(min(rows, columns)).double().expand_as(gram))


@pytest.mark.parametrize(("rows", "columns"), [(12, 5), (2, 2), (1, 2)])
def test_orthogonal_maps_favour_no_direction(rows, columns):
    """Entries have mean 0 and mean square 1/rows (or 1/columns), and so has a flipped sign."""
    maps = random_maps("orthogonal", keys(4000), rows, columns)
    assert float(maps.mean(dim=0).abs().max()) < 5 / math.sqrt(4000 * max(rows, columns))
    square = maps.square().mean(dim=0)
    # The mean square's standard error is at most √(2/4000) of it: 2 %.
    torch.testing.assert_close(
        square, torch.full_like(square, 1 / max(rows, columns)), rtol=0.12, atol=0
    )


def test_a_plane_is_turned_by_uniform_angles_and_mirrored_half_the_time():
    maps = random_maps("orthogonal", keys(4000), 2, 2)
    angle = torch.atan2(maps[:, 1, 0], maps[:, 0, 0])
    counts = torch.histc(angle, bins=8, min=-math.pi, max=math.pi)
    assert float((counts - 500).abs().max()) < 5 * math.sqrt(500)
    mirrored = torch.linalg.det(maps) < 0
    assert abs(int(mirrored.sum()) - 2000) < 5 * math.sqrt(1000)


def test_gaussian_entries_have_the_variance_of_one_over_the_inputs():
    maps = random_maps("gaussian", keys(4000), 12, 5)
    entries = maps.flatten()
    # 240 000 entries: standard errors 0.0009 and 0.0006.
    assert float(entries.mean()) == pytest.approx(0.0, abs=0.004)
    assert float(entries.var()) == pytest.approx(1 / 5, abs=0.003)
    assert float((entries.abs() > 2 / math.sqrt(5)).double().mean()) == pytest.approx(
        0.0455, abs=0.003
    )


def test_a_map_is_a_function_of_its_key_alone():
    for distribution in ("gaussian", "orthogonal"):
        many = random_maps(distribution, keys(9), 12, 7)
        assert torch.equal(many[:2], random_maps(distribution, keys(2), 12, 7))
        assert len(many.flatten(1).unique(dim=0)) == 9


# --- one family behind maps -------------------------------------------------------------------


def test_what_is_seen_and_done_is_worked_by_hand():
    """A PointGoal at (x, y) shows M_o (x, y); an action moves it by 0.1 · clip(M_a action)."""
    tasks = ProjectedPointGoal.task_space.listing("train", 3, seed=0)
    family = start(ProjectedPointGoal(3), tasks)
    seen, motors = family._maps._observation_NOE, family._maps._action_NUA
    action = torch.tensor([[1.0, 0.5], [-1.0, 1.0], [0.0, 0.25]])
    outcome = family.step(action)
    position = 0.1 * (motors @ action.double().unsqueeze(2)).clamp(-1, 1)
    torch.testing.assert_close(
        family.observe().double(), (seen @ position)[:, :, 0], atol=1e-6, rtol=0
    )
    distance = torch.linalg.vector_norm(position[:, :, 0] - tasks[:, :2], dim=1)
    torch.testing.assert_close(outcome.reward_terms["distance"].double(), -distance)


def test_the_wrapped_family_is_the_family_itself():
    """A policy that undoes the maps meets PointGoal: same rewards, same positions."""
    tasks = ProjectedPointGoal.task_space.listing("test", 8, seed=0)
    behind = start(ProjectedPointGoal(8), tasks)
    plain = start(PointGoal(8), tasks[:, :2])
    undo = torch.linalg.inv(behind._maps._action_NUA)
    for step in range(10):
        move = (rng.uniform(rng.fold_in(keys(8, 3), step), 2) - 0.5).unsqueeze(2)  # |·| ≤ 0.5
        reward = behind.step((undo @ move)[:, :, 0]).reward
        torch.testing.assert_close(reward, plain.step(move[:, :, 0]).reward)
        seen = (behind._maps._observation_NOE.mT @ behind.observe().double().unsqueeze(2))[:, :, 0]
        torch.testing.assert_close(seen, plain.observe().double(), atol=1e-6, rtol=0)


def test_maps_stay_for_a_trial_and_change_with_it():
    env = TrialEnv("ProjectedPointGoal", 2, episode_length=3, episodes_per_trial=2)
    env.reset(0)
    maps = []
    for _ in range(6):
        maps.append(env.family._maps._observation_NOE.clone())
        env.step(torch.zeros(2, 2))
    assert all(torch.equal(maps[0], later) for later in maps)
    assert not torch.equal(maps[0], env.family._maps._observation_NOE)


def test_a_family_with_more_sensors_and_motors_than_the_maps_can_be_wrapped():
    class ProjectedHalfCheetahVel(Projected, base=HalfCheetahVel):
        """17 features seen as 12, 6 motors driven by 2."""

        distribution = "gaussian"

    assert ProjectedHalfCheetahVel.render_fps == HalfCheetahVel.render_fps
    tasks = ProjectedHalfCheetahVel.task_space.listing("ood", 2, seed=0)
    family = start(ProjectedHalfCheetahVel(2), tasks)
    terms = family.step(torch.ones(2, 2)).reward_terms
    assert set(terms) == {"speed", "control"}
    assert family.observe().shape == (2, 12)
    given = family._base.engine.data["ctrl"]
    torch.testing.assert_close(given, family._maps._action_NUA.sum(dim=2).clamp(-1, 1))


def test_the_episode_length_reaches_the_family_behind_the_maps():
    family = make_family("ProjectedPointGoal", 1, episode_length=7)
    assert family.episode_length == family._base.episode_length == 7


@pytest.mark.parametrize("base", [Bandit2, MemoryChain])
def test_a_finite_set_of_actions_cannot_be_projected(base):
    with pytest.raises(ValueError, match=f"{base.__name__} has no box of actions"):

        class Impossible(Projected, base=base):
            pass


# --- tasks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [ProjectedPointGoal.task_space, ProjectedDMC.task_space])
def test_seeds_of_training_are_even_and_all_others_odd(space):
    for split, parity in (("train", 0), ("test", 1), ("ood", 1)):
        for tasks in (space.sample(split, keys(500)), space.listing(split, 500, seed=0)):
            assert (tasks[:, -1] % 2).unique().tolist() == [parity]
            assert len(tasks[:, -1].unique()) == 500
    train = space.sample("train", keys(100))
    assert bool(space.contains("train", train).all())
    train[:, -1] += 1
    assert not bool(space.contains("train", train).any())


def test_the_base_tasks_of_a_split_are_its_own():
    space, base = ProjectedPointGoal.task_space, PointGoal.task_space
    for split in base.splits:
        assert bool(base.contains(split, space.sample(split, keys(200))[:, :2]).all())
        assert torch.equal(space.listing(split, 20, 3)[:, :2], base.listing(split, 20, 3))
    assert space.ranges == (*base.ranges, (0.0, 2.0**40 - 1))
    assert not bool(space.contains("ood", space.sample("test", keys(50))).any())


def test_a_space_without_ood_has_none_behind_maps():
    assert ProjectedTasks(MemoryChain.task_space).splits == ("train", "test")


# --- many bodies ------------------------------------------------------------------------------


NAMES = [environment.__name__ for environment in ENVIRONMENTS]


def named(space, split):
    numbers = space.listing(split, 100, seed=0)[:, 0].unique().long().tolist()
    return {NAMES[number].removeprefix("DMC") for number in numbers}


def test_the_splits_are_the_papers():
    space = ProjectedDMC.task_space
    train = {"BallInCupCatch", "CartpoleSwingup", "FingerSpin", "FingerTurnHard"}
    train |= {"PointMassEasy", "ReacherEasy"}
    assert named(space, "train") == named(space, "test") == train
    held_out = {"CartpoleBalance", "FingerTurnEasy", "PendulumSwingup", "PointMassHard"}
    assert named(space, "ood") == held_out | {"ReacherHard"}


def test_no_body_of_training_is_in_the_held_out_split_of_bodies():
    files = {
        environment.__name__.removeprefix("DMC"): environment.model_file
        for environment in ENVIRONMENTS
    }
    space = ProjectedDMCBodies.task_space
    train, held_out = ({files[n] for n in named(space, s)} for s in ("train", "ood"))
    assert not train & held_out
    assert (len(train), len(held_out)) == (3, 4)
    assert named(space, "train") | named(space, "ood") == set(files)


def test_every_world_plays_its_own_environment_behind_its_own_maps():
    """Each against the environment alone, given what the maps make of the action."""
    numbers = torch.arange(len(ENVIRONMENTS)).double()
    tasks = torch.stack([numbers, 2 * numbers + 1], dim=1)
    suite = start(make_family("ProjectedDMC", len(tasks)), tasks)
    alone = []
    for world, environment in enumerate(ENVIRONMENTS):
        family = environment(1)
        key = rng.world_keys(0, rng.Stream.EPISODE, len(tasks))[world : world + 1]
        family.reset(everywhere(1), torch.zeros(1, 1).double(), key)
        alone.append(family)
    for step in range(20):
        action = 2 * rng.uniform(rng.fold_in(keys(len(tasks), 5), step), 2) - 1
        outcome = suite.step(action)
        seen = suite.observe()
        for world, family in enumerate(alone):
            maps = suite._environment(world)[1]
            own = family.step(maps._action_NUA[world : world + 1] @ action[world])
            assert float(outcome.reward[world]) == pytest.approx(float(own.reward), abs=1e-9)
            expected = maps._observation_NOE[world] @ family.observe()[0].double()
            torch.testing.assert_close(seen[world].double(), expected, atol=1e-5, rtol=1e-5)
        terms = outcome.reward_terms
        for world, environment in enumerate(ENVIRONMENTS):
            others = [terms[name][world] for name in terms if name != environment.term]
            assert not any(others)


def test_worlds_that_play_another_environment_are_not_stepped():
    tasks = torch.tensor([[0.0, 1.0], [4.0, 3.0]], dtype=torch.float64)
    suite = start(make_family("ProjectedDMC", 2), tasks)
    assert set(suite._environments) == {0, 4}  # others are not even built
    suite.step(torch.ones(2, 2))
    for world, number in ((1, 0), (0, 4)):
        engine = suite._environment(number)[0].engine
        assert float(engine.data["time"][world]) == 0.0
        assert float(engine.data["time"][1 - world]) > 0.0


def test_a_trial_may_hand_a_world_to_another_environment():
    env = TrialEnv("ProjectedDMC", 4, episode_length=2)
    first = env.reset(0)
    met = {int(n) for n in env.tasks[:, 0]}
    for _ in range(20):
        step = env.step(torch.zeros(4, 2))
        met |= {int(n) for n in env.tasks[:, 0]}
        assert bool(step.observation.isfinite().all())
    assert met == {0, 1, 2, 3, 4, 5}
    assert torch.equal(env.reset(0).observation, first.observation)


def test_a_divergence_ends_the_episode_of_its_world_alone():
    tasks = torch.tensor([[0.0, 1.0], [0.0, 3.0], [3.0, 5.0]], dtype=torch.float64)
    env = TrialEnv("ProjectedDMC", 3, task_source=FixedTasks(tasks))
    env.reset(0)
    env.family._environment(0)[0].engine.data["qvel"][1] = math.nan
    env.family._environment(3)[0].engine.data["qvel"][1] = math.nan  # nobody plays there
    step = env.step(torch.zeros(3, 2))
    assert step.terminated.tolist() == [False, True, False]
    assert env.num_diverged == 1
