"""Acting in finite tasks: rollouts to learn from, and whole episodes to be judged by.

All chance comes from keys: a copy's draws are a function of its agent's key, the step and its own
number, so agents with the same key meet the same luck.

Shape legend: P agents, T steps, E copies, S states, A actions, X entries of a table's row, U draws
of a task per step, D = U + 1 draws, of which the first picks the action.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy.agents.lifetimes.lifetimes import Rows, rows_of
from quickstudy.envs import rng
from quickstudy.envs.nested_state import nested, part
from quickstudy.envs.tabular.tabular_tasks import TabularTasks

_TASK, _WORLD = "task", "world"
"""How the tensors of tasks and of worlds are called among an agent's own."""
_BETWEEN_LOOKS = 10
"""Evaluation steps between two looks at who has finished."""


@dataclass(frozen=True)
class TabularRollout:
    """T steps of every copy."""

    states: Tensor
    """`(P, T + 1, E)` int64: before each step, and after the last one."""
    action: Tensor
    """`(P, T, E)` int64."""
    reward: Tensor
    """`(P, T, E)`, of the tables' floating type."""
    ended: Tensor
    """`(P, T, E)` bool: the next state begins another episode."""

    @property
    def state(self) -> Tensor:
        """`(P, T, E)`: where each action was taken."""
        return self.states[:, :-1]


@dataclass(frozen=True)
class Evaluation:
    """One episode of every copy."""

    returns: Tensor
    """`(P, E)` float64, undiscounted."""
    steps: Tensor
    """`(P,)` int64, of all copies together."""


def as_rows(tasks: Rows, worlds: Rows) -> Rows:
    """Tasks and worlds as rows of a population."""
    return nested(_TASK, tasks) | nested(_WORLD, worlds)


@torch.no_grad()
def play(tasks: TabularTasks, rows: Rows, draw_TPED: Tensor) -> tuple[TabularRollout, Rows]:
    """T steps from where the worlds of `rows` are, and the rows of where they are then."""
    task, worlds = part(_TASK, rows), part(_WORLD, rows)
    states = [tasks.state(task, worlds)]
    actions, rewards, ends = [], [], []
    for draw_PED in draw_TPED:
        actions.append(choose(rows["logits"], states[-1], draw_PED[..., 0]))
        step = tasks.step(task, worlds, actions[-1], draw_PED[..., 1:])
        worlds = step.worlds
        rewards.append(step.reward_PE)
        ends.append(step.ended_PE)
        states.append(tasks.state(task, worlds))
    reward_PTE = torch.stack(rewards, dim=1).to(rows["logits"].dtype)
    rollout = TabularRollout(
        torch.stack(states, 1), torch.stack(actions, 1), reward_PTE, torch.stack(ends, 1)
    )
    return rollout, nested(_WORLD, worlds)


@torch.no_grad()
def evaluate(tasks: TabularTasks, rows: Rows, key_P: Tensor, copies: int, cap: int) -> Evaluation:
    """What the policies earn in one new episode per copy, of at most `cap` steps.

    Agents whose copies have all finished leave, so that little is computed for them.
    """
    rows = _at_start(tasks, rows, key_P, copies)
    returns_PE, steps_P = rows["returns"], rows["steps"]
    who = torch.arange(len(key_P), device=key_P.device)
    for t in range(cap):
        rows = rows | _evaluation_step(tasks, rows, t)
        if (t + 1) % _BETWEEN_LOOKS == 0 or t + 1 == cap:
            returns_PE = returns_PE.index_copy(0, who, rows["returns"])
            steps_P = steps_P.index_copy(0, who, rows["steps"])
            playing = rows["going"].any(dim=1).nonzero()[:, 0]
            rows, who = rows_of(rows, playing), who[playing]
            if not len(who):
                break
    return Evaluation(returns_PE, steps_P)


def begin_worlds(tasks: TabularTasks, task: Rows, key_P: Tensor, copies: int) -> Rows:
    """Copies of each task, each at the start of an episode."""
    return tasks.begin(task, draws(key_P, 1, copies, tasks.num_draws)[0])


def draws(key_P: Tensor, num_steps: int, copies: int, each: int) -> Tensor:
    """Float64 uniform draws in [0, 1), `(T, P, E, each)`."""
    key_TP = rng.fold_in(key_P, torch.arange(num_steps, device=key_P.device).unsqueeze(1))
    return rng.uniform(key_TP, copies * each).view(num_steps, len(key_P), copies, each)


def choose(logits_PSA: Tensor, state_PE: Tensor, draw_PE: Tensor) -> Tensor:
    """Actions of the softmax policies by inverse CDF, `(P, E)`; action 0 where logits are NaN."""
    logits_PEA = at_states(logits_PSA, state_PE)
    weight_PEA = (logits_PEA - logits_PEA.amax(dim=-1, keepdim=True)).exp()
    below_PEA = weight_PEA.cumsum(dim=-1)
    chosen_PE1 = (draw_PE * below_PEA[..., -1]).unsqueeze(-1)
    # A draw is below 1, and so, even rounded, is its product with the last bound.
    return (chosen_PE1 >= below_PEA[..., :-1]).sum(dim=-1)


def at_states(table_PSX: Tensor, state: Tensor) -> Tensor:
    """Rows of each agent's own table `(P, S, X)` at states `(P, ...)`: `(P, ..., X)`."""
    flat = table_rows(table_PSX, state)
    return table_PSX.flatten(0, 1).index_select(0, flat).view(*state.shape, -1)


def table_rows(table_PSX: Tensor, state: Tensor) -> Tensor:
    """Where states `(P, ...)` stand in the table `(P · S, X)`: a flat index."""
    num_agents, num_states = table_PSX.shape[:2]
    first_P = torch.arange(num_agents, device=state.device) * num_states
    return (state.flatten(1) + first_P.unsqueeze(1)).flatten()


def _at_start(tasks: TabularTasks, rows: Rows, key_P: Tensor, copies: int) -> Rows:
    """What an evaluation carries along."""
    task = part(_TASK, rows)
    # The draws of step t belong to counter t + 1.
    worlds = begin_worlds(tasks, task, rng.fold_in(key_P, 0), copies)
    return as_rows(task, worlds) | {
        "logits": rows["logits"],
        "key": key_P,
        "returns": torch.zeros(len(key_P), copies, dtype=torch.float64, device=key_P.device),
        "steps": torch.zeros_like(key_P),
        "going": torch.ones(len(key_P), copies, dtype=torch.bool, device=key_P.device),
    }


def _evaluation_step(tasks: TabularTasks, rows: Rows, t: int) -> Rows:
    key_P = rng.fold_in(rows["key"], t + 1)
    copies = rows["going"].shape[1]
    rollout, worlds = play(tasks, rows, draws(key_P, 1, copies, tasks.num_draws + 1))
    return worlds | {
        "returns": rows["returns"] + rollout.reward[:, 0].where(rows["going"], 0.0),
        "steps": rows["steps"] + rows["going"].sum(dim=1),
        "going": rows["going"] & ~rollout.ended[:, 0],
    }
