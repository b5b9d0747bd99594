"""The part of the manual that all of Meta-World's families have in common."""

_MANUAL = """## Observation

| index | meaning | range | unit |
|---|---|---|---|
| 0–2 | position of the hand | ±0.525, 0.348 to 1.025, −0.0525 to 0.7 | m |
| 3 | opening of the gripper | [0, 1] | 0.1 m |
| 4–6 | position of the first object | ℝ | m |
| 7–10 | orientation of the first object, a quaternion (x, y, z, w) | [−1, 1] | 1 |
| 11–13 | position of the second object; 0 without one | ℝ | m |
| 14–17 | orientation of the second object; 0 without one | [−1, 1] | 1 |
| 18–35 | 0–17 one step earlier | as there | as there |
| 36–38 | {goal} | {goal_range} | m |

## Action

| index | meaning | range | unit |
|---|---|---|---|
| 0–2 | shift of the point that the hand is drawn to: x, y, z | [−1, 1] | 0.01 m |
| 3 | effort of the gripper: open −1, close +1 | [−1, 1] | 1 |

## Reward

`metaworld` = the package's reward in its second version ("v2", its default), between 0 and 10: each
environment's own product of distances and grasps, 10 where its goal is reached.

## Episode

Never terminates; 500 steps (6.25 s) by default, {episodes} per trial. A step is 5 × 2.5 ms. All
episodes on one task start in the same state: Meta-World draws goals and places of objects together,
and holds both fixed. So whoever sees the first observation knows where the objects of its task are,
{told}.

A step is a success where the environment's own measure says so (`info["success"]`), an episode if
any of its steps was (`TrialResults.successes`, the success rate of `quickstudy eval`).

## Physics

metaworld 3.0.0 on MuJoCo 4: its own bodies and solver settings. It was made for MuJoCo 3, in which
some trajectories end differently, so returns are not comparable with those published for it.
One method is replaced, which wrote rows of 11 numbers where MuJoCo 4 has 12.

## Source

Yu et al. 2019, Meta-World (arXiv 1910.10897), in the package's third revision (McLean et al. 2025,
Meta-World+, arXiv 2505.11289). A task's second number counts the goals of `metaworld.ML1(name,
seed=0)`: 0–49 of its train tasks, 50–99 of its test tasks.

## Peers

The package draws goals anew for each seed that its benchmarks are given. Its id
`Meta-World/ML1-train` plays the test goals (a loop variable is read too late), and with its
recurrent wrapper an episode's first step shows neither the last action nor the last reward; here an
agent keeps both. Its `metalearning_evaluation` counts the first three episodes that finish over all
parallel environments while success ends an episode, so that failures are crowded out; here
every goal is played in the same number of episodes. 3.1.1 is another reward in
button-press-topdown-wall, and pins MuJoCo 3.3.0.
"""


def manual(goal_visible: bool) -> str:
    """From the observation on, for families that show the goal's position or zero it."""
    if goal_visible:
        return _MANUAL.format(
            goal="position of the goal",
            goal_range="about ±1",
            episodes="1 episode",
            told="and where the goal is",
        )
    return _MANUAL.format(
        goal="0: the position of the goal is hidden",
        goal_range="0",
        episodes="10 episodes",
        told="though not where the goal is",
    )
