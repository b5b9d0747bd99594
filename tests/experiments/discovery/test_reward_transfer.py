"""Transfer of a discovered reward, in small."""

import io
import json
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from quickstudy.agents.lifetimes.rewards import RewardConfig
from quickstudy.agents.lifetimes.rewards_rule import RewardRuleConfig
from quickstudy.envs.tabular.registry import make_tabular_tasks
from quickstudy.experiments.discovery.reward_transfer import RewardTransfer, reward_transfer

LIVES = RewardConfig(num_updates=4, rollout_steps=10, rule=RewardRuleConfig(width=3))
SMALL = RewardTransfer(LIVES, num_lives=8)


def first_rule(lives):
    return lives.rule.build(make_tabular_tasks(lives.tasks)).first_rule(0)


def transferred(config, rule_M):
    written = io.StringIO()
    return reward_transfer(config, rule_M, Console(file=written, width=120)), written.getvalue()


def test_all_learners_meet_both_orders_of_actions():
    result, written = transferred(SMALL, first_rule(LIVES) + 0.3)
    assert len(json.loads(json.dumps(result))["cells"]) == 6
    assert "q-learning, permuted" in written
    for cell in result["cells"].values():
        both = cell["discovered"]["point"] - cell["true"]["point"]
        assert cell["difference"]["point"] == pytest.approx(both)


def test_nothing_discovered_makes_no_difference():
    """A reward added with weight 0 is the true one, whatever the rule."""
    none = replace(LIVES, rule=RewardRuleConfig(width=3, mix="added", weight=0.0))
    result, _ = transferred(replace(SMALL, lives=none), first_rule(none) + 1.0)
    for cell in result["cells"].values():
        assert cell["difference"] == {"point": 0.0, "low": 0.0, "high": 0.0}


def test_a_reward_that_never_pays_keeps_agents_from_learning():
    """All zeros: with the true reward A2C earns more, within 25 updates."""
    lives = replace(LIVES, num_updates=25)
    result, _ = transferred(
        replace(SMALL, lives=lives, num_lives=16), torch.zeros_like(first_rule(lives))
    )
    assert result["cells"]["a2c"]["difference"]["high"] < 0.0


def test_an_order_of_other_actions_is_refused():
    with pytest.raises(ValueError, match="each of the 4 actions once"):
        transferred(replace(SMALL, order=(0, 1)), first_rule(LIVES))
    with pytest.raises(ValueError, match="num_lives must be an integer of at least 1"):
        transferred(replace(SMALL, num_lives=0), first_rule(LIVES))
