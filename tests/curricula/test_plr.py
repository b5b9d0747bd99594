"""Prioritised level replay: what is kept, what is replayed, and how often."""

import pytest
import torch

from quickstudy.curricula.levels import Levels
from quickstudy.curricula.teachers.plr import PLRConfig, RobustPLRConfig, rank_weights
from quickstudy.envs import rng


def levels(*x) -> Levels:
    """Levels of one dimension under seed 0."""
    point_n1 = torch.tensor(x, dtype=torch.float64).unsqueeze(1)
    n = len(x)
    return Levels(point_n1, torch.zeros(n, dtype=torch.int64), torch.ones(n, dtype=torch.bool))


def scores(*values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def kept(teacher) -> dict[float, float]:
    """Score by point, of what is in the buffer."""
    state = teacher.state_dict()
    used = state["buffer"]["used"]
    points, score = state["buffer"]["points"][used][:, 0], state["score"][used]
    return dict(zip(points.tolist(), score.tolist(), strict=True))


def weights(teacher, *x) -> torch.Tensor:
    """The chances of these points to be replayed."""
    points = teacher.state_dict()["buffer"]["points"][: len(teacher.weights()), 0].tolist()
    chance = dict(zip(points, teacher.weights().tolist(), strict=True))
    return scores(*(chance[point] for point in x))


def test_weights_go_by_rank():
    # Ranks 1, 3, 2: 1 + 1/3 + 1/2 = 11/6, so 6/11, 2/11, 3/11. With β = 1/2: 1, 1/9, 1/4 of 49/36.
    torch.testing.assert_close(rank_weights(scores(3, 1, 2), 1.0), scores(6, 2, 3) / 11)
    torch.testing.assert_close(rank_weights(scores(3, 1, 2), 0.5), scores(36, 4, 9) / 49)


def test_equal_scores_share_their_ranks():
    # Ranks 1 and 2 have 1 + 1/2 to share, rank 3 has 1/3: 9/12, 9/12 and 4/12 of 22/12.
    torch.testing.assert_close(rank_weights(scores(5, 0, 5), 1.0), scores(9, 4, 9) / 22)
    torch.testing.assert_close(rank_weights(scores(7, 7, 7, 7), 0.1), scores(1, 1, 1, 1) / 4)
    assert len(rank_weights(scores(), 0.1)) == 0


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_weights_know_no_unit(scale):
    assert torch.equal(
        rank_weights(scale * scores(3, 1, 2), 0.3), rank_weights(scores(3, 1, 2), 0.3)
    )


def test_staleness_counts_levels_since_the_last_play():
    config = PLRConfig(capacity=4, temperature=1.0, staleness=0.25)
    teacher = config.build(1, seed=0)
    teacher.observe(levels(0.1, 0.2, 0.3), scores(3, 1, 2))
    # Played at 1, 2, 3 of 3: 2, 1 and 0 levels ago, a third of 3 each.
    expected = 0.75 * scores(6, 2, 3) / 11 + 0.25 * scores(2, 1, 0) / 3
    torch.testing.assert_close(weights(teacher, 0.1, 0.2, 0.3), expected)
    teacher.observe(levels(0.1), scores(0))  # ranks 3, 2, 1; played 0, 2 and 1 levels ago
    expected = 0.75 * scores(2, 3, 6) / 11 + 0.25 * scores(0, 2, 1) / 3
    torch.testing.assert_close(weights(teacher, 0.1, 0.2, 0.3), expected)


def test_a_levels_score_is_its_latest():
    teacher = PLRConfig(capacity=4).build(1, seed=0)
    teacher.observe(levels(0.1, 0.2, 0.1), scores(5, 4, 3))
    assert kept(teacher) == {0.1: 3.0, 0.2: 4.0}
    teacher.observe(levels(0.2, 0.2, 0.1), scores(7, 6, 8))
    assert kept(teacher) == {0.1: 8.0, 0.2: 6.0}


def test_the_same_point_under_another_seed_is_another_level():
    teacher = PLRConfig(capacity=4).build(1, seed=0)
    one = levels(0.1)
    teacher.observe(one, scores(1))
    teacher.observe(Levels(one.points, one.seeds + 1, one.practise), scores(2))
    assert teacher.state_dict()["buffer"]["used"].sum() == 2


def test_a_full_buffer_gives_up_the_least_likely_for_what_scores_no_less():
    teacher = PLRConfig(capacity=2, staleness=0.0).build(1, seed=0)
    teacher.observe(levels(0.1, 0.2), scores(5, 1))
    teacher.observe(levels(0.3), scores(0.5))
    assert kept(teacher) == {0.1: 5.0, 0.2: 1.0}
    teacher.observe(levels(0.4), scores(1))
    assert kept(teacher) == {0.1: 5.0, 0.4: 1.0}
    # Together: the best newcomer against the least likely (0.4), the next one against 0.1.
    teacher.observe(levels(0.6, 0.7, 0.8), scores(2, 9, 4))
    assert kept(teacher) == {0.7: 9.0, 0.1: 5.0}


def test_free_slots_go_to_the_best():
    teacher = PLRConfig(capacity=3).build(1, seed=0)
    teacher.observe(levels(0.1, 0.2, 0.3, 0.4, 0.5), scores(1, 5, 3, 2, 4))
    assert kept(teacher) == {0.2: 5.0, 0.5: 4.0, 0.3: 3.0}


def slow_weights(entries, clock, config):
    """dcd's `sample_weights` over `[score, played]`, for scores without ties."""
    ranked = sorted((score for score, _ in entries.values()), reverse=True)
    rank = {x: (ranked.index(score) + 1) ** (-1 / config.temperature)
            for x, (score, _) in entries.items()}  # fmt: skip
    stale = {x: clock - played for x, (_, played) in entries.items()}
    rho, all_rank, all_stale = config.staleness, sum(rank.values()), sum(stale.values())
    return {x: (1 - rho) * rank[x] / all_rank + rho * stale[x] / all_stale for x in entries}


def test_levels_one_by_one_enter_and_leave_as_in_dcd():
    config = PLRConfig(capacity=8, temperature=0.7, staleness=0.3)
    teacher, entries = config.build(1, seed=0), {}
    draw_n2 = rng.uniform(rng.world_keys(0, rng.Stream.TASK, 300), 2)
    for clock, (x, score) in enumerate(draw_n2.tolist(), start=1):
        x = round(20 * x) / 20  # some come again
        teacher.observe(levels(x), scores(score))
        if x in entries or len(entries) < config.capacity:
            entries[x] = [score, clock]
        else:
            weight = slow_weights(entries, clock, config)
            least = min(weight, key=weight.get)
            if entries[least][0] <= score:
                del entries[least]
                entries[x] = [score, clock]
        assert kept(teacher) == {x: score for x, (score, _) in entries.items()}


def test_nothing_is_replayed_before_the_buffer_is_filled_enough():
    teacher = PLRConfig(capacity=10, fill=0.5, replay=1.0).build(1, seed=0)
    teacher.observe(levels(0.1, 0.2, 0.3, 0.4), scores(1, 2, 3, 4))
    assert not torch.isin(teacher.propose(100).points[:, 0], scores(0.1, 0.2, 0.3, 0.4)).any()
    teacher.observe(levels(0.5), scores(5))
    proposed = teacher.propose(100)
    assert torch.isin(proposed.points[:, 0], scores(0.1, 0.2, 0.3, 0.4, 0.5)).all()
    assert (proposed.seeds == 0).all()


@pytest.mark.parametrize("config", [PLRConfig, RobustPLRConfig])
def test_replays_and_new_levels_come_in_their_shares(config):
    teacher = config(capacity=2, replay=0.3, temperature=1.0, staleness=0.0).build(1, seed=0)
    teacher.observe(levels(0.1, 0.2), scores(2, 1))
    proposed = teacher.propose(6000)
    x_n = proposed.points[:, 0]
    # Of 6000, 1800 are replays, two thirds of them of the first: 1200 and 600.
    assert int((x_n == 0.1).sum()) == pytest.approx(1200, abs=120)
    assert int((x_n == 0.2).sum()) == pytest.approx(600, abs=90)
    is_old_n = (x_n == 0.1) | (x_n == 0.2)
    assert proposed.practise[is_old_n].all()
    assert (proposed.practise[~is_old_n] == (config is PLRConfig)).all()


def test_levels_of_high_regret_are_replayed():
    """Regret is high in [0.7, 0.75], small elsewhere, and shrinks where a level was practised."""
    teacher = PLRConfig(capacity=100).build(1, seed=0)
    plays = {}
    for _ in range(30):
        proposed = teacher.propose(50)
        regret = []
        for x in proposed.points[:, 0].tolist():
            plays[x] = plays.get(x, 0) + 1
            regret.append((0.7 <= x <= 0.75) + 0.1 * x - 0.001 * plays[x])
        teacher.observe(proposed, scores(*regret))
    x_n = teacher.propose(2000).points[:, 0]
    share = float(((x_n >= 0.7) & (x_n <= 0.75)).double().mean())
    # Half are replays; half of those go by score, all to the band, besides what is stale there.
    assert share > 0.25, f"uniform would be 0.05, got {share}"
    assert min(kept(teacher).values()) > 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"capacity": 0}, "capacity must be an integer of at least 1"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"replay": 1.5}, "replay must be a number from 0 to 1"),
        ({"fill": -1.0}, "fill must be a number from 0 to 1"),
        ({"staleness": 2.0}, "staleness must be a number from 0 to 1"),
    ],
)
def test_senseless_constants_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        PLRConfig(**options).build(2, seed=0)
