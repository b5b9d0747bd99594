"""The study of ExploRS in small: its arms, its figures and what it refuses."""

import io
import json

import pytest
import torch
from rich.console import Console

from quickstudy.agents.lifetimes.rewards_explors import ExploRS, ExploRSConfig
from quickstudy.envs.tabular.chains_rooms import ChainConfig
from quickstudy.experiments.discovery.explors_study import ARMS, ExploRSStudy, explors_study
from quickstudy.experiments.discovery.keys import Purpose, keys

SMALL = ExploRSStudy(tasks=("chain-plus", "room"), num_seeds=2, episodes=25, points=5)


def studied(config=SMALL):
    written = io.StringIO()
    return explors_study(config, Console(file=written, width=120)), written.getvalue()


def test_the_study_is_complete_and_goes_into_json():
    result, written = studied()
    assert set(json.loads(json.dumps(result))["tasks"]) == {"chain-plus", "room"}
    for of_task in result["tasks"].values():
        assert of_task["episodes"] == [0, 5, 10, 15, 20, 25]
        assert set(of_task["final"]) == set(of_task["curve"]) == set(ARMS)
        assert set(of_task["both_minus"]) == {"none", "bonus", "self"}
        for arm in ARMS:
            per_seed = of_task["final"][arm]["per_seed"]
            assert len(per_seed) == 2
            assert sum(per_seed) / 2 == pytest.approx(of_task["curve"][arm][-1])
            assert of_task["final"][arm]["interval"]["point"] == pytest.approx(sum(per_seed) / 2)
    assert "chain-plus" in written
    assert written.count("both minus it") == 2


def test_an_arm_is_what_its_agents_are_alone():
    """Seed 1 of "both", trained by hand with the key that the study gives it."""
    result, _ = studied()
    on = torch.tensor([True])
    alone = ExploRS(
        ExploRSConfig(),
        ChainConfig().build(),
        keys(0, Purpose.LIFE, 0, 2)[1:],
        bonus_P=on,
        shaping_P=on,
    )
    alone.live(25)
    found = result["tasks"]["chain-plus"]["final"]["both"]["per_seed"][1]
    assert found == pytest.approx(float(alone.true_return()), rel=1e-9)


def test_differences_are_seed_by_seed():
    result, _ = studied()
    of_task = result["tasks"]["chain-plus"]
    both, bonus = (of_task["final"][arm]["per_seed"] for arm in ("both", "bonus"))
    expected = [a - b for a, b in zip(both, bonus, strict=True)]
    assert of_task["both_minus"]["bonus"]["per_seed"] == pytest.approx(expected)


def test_the_study_is_a_function_of_its_seed():
    def figures(seed):
        result, _ = studied(ExploRSStudy(("room",), num_seeds=2, episodes=20, points=2, seed=seed))
        return result["tasks"]["room"]["final"]

    assert figures(0) == figures(0)
    assert figures(0) != figures(1)


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match=r"'room-plu'\. Did you mean 'room-plus'"):
        studied(ExploRSStudy(tasks=("room-plu",)))
    with pytest.raises(ValueError, match="num_seeds must be an integer of at least 1, got 0"):
        studied(ExploRSStudy(num_seeds=0))
