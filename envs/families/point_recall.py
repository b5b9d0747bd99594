"""PointRecall: a cue at the start says where a mass must go when it is let loose much later.

Shape legend: N worlds, T targets.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from quickstudy.envs.family import Outcome, unbounded_box, unit_box
from quickstudy.envs.mujoco_family import MujocoFamily
from quickstudy.envs.tasks import ListedTasks, Parameter

GO_STEPS = 40
"""The last steps of an episode, in which the mass is loose (2 s)."""
TARGET_RADIUS = 0.25
"""Metres; centres are 1 m from the start."""
TARGETS = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))
"""East, north, west, south, as the sites of the model."""

GREY, GREEN, RED = (0.78, 0.8, 0.82, 1.0), (0.45, 0.75, 0.45, 1.0), (0.85, 0.4, 0.35, 1.0)


class PointRecall(MujocoFamily):
    """A mass that is held fast, long after it was shown which of four targets is the right one.

    ## Task

    | index | name | train, test | unit |
    |---|---|---|---|
    | 0 | target | 0 east, 1 north, 2 west, 3 south, with equal chances | index |

    The first observation shows it, no later one does.

    ## Observation

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0, 1 | position x, y | about [−1.6, 1.6] | m |
    | 2, 3 | velocity x, y | ℝ | m/s |
    | 4, 5 | cue: direction x, y of the target at the first step, afterwards 0 | {−1, 0, 1} | 1 |
    | 6 | go: 1 while the mass is loose | {0, 1} | 1 |

    ## Action

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0, 1 | force along x, y; none while the mass is held | [−1, 1] | 50 N |

    ## Reward

    `answer` = 1 on reaching the right target, else 0. A reward for coming closer would tell where
    the target is, and so would a second try: the first target entered is the answer.

    ## Episode

    Starts at rest at the origin, and is held there exactly until the last 40 steps (at least for
    the first step). Terminates at the first target entered; 100 steps (5 s) by default, 1 episode
    per trial. `--episode-length` sets the delay. The best return is 1; a guess earns ¼.

    The body cannot keep the cue: position and velocity are the same in all worlds until the go. Nor
    can the last action, which agents are not shown here: while the mass is held it moves nothing,
    and whoever saw it could keep the cue by repeating it.

    ## Physics

    1 kg on two slides, friction 10 N·s/m, no contacts; implicitfast, 2 × 0.025 s per step.

    ## Source

    Our own: bsuite's memory length experiment (Osband et al. 2020) carried over to physics.

    ## Peers

    None has this task.
    """

    model_file = "point_recall.xml"
    substeps = 2
    observation_space = unbounded_box(7)
    action_space = unit_box(2)
    render_fps = 20
    shows_action = False
    task_space = ListedTasks(Parameter("target", 0.0, 3.0, "index"), (0.0, 1.0, 2.0, 3.0))

    def __init__(
        self, num_worlds: int, device: torch.device | str = "cpu", *, num_threads: int | None = None
    ) -> None:
        super().__init__(num_worlds, device, num_threads=num_threads)
        self._targets_T2 = torch.tensor(TARGETS, dtype=torch.float64, device=self.device)
        self._step_N = torch.zeros(num_worlds, dtype=torch.int64, device=self.device)

    def _start_episode(self, mask_N: Tensor, key_N: Tensor) -> None:
        del key_N  # unused: every episode starts at rest at the origin
        self.engine.reset(mask_N)
        self._step_N = self._step_N.masked_fill(mask_N, 0)

    def _advance(self, action: Tensor) -> Outcome:
        self._simulate(action * self._loose().unsqueeze(1))
        self._step_N = self._step_N + 1
        # Not `torch.cdist`, which alone takes a tenth of a step's time.
        away_NT2 = self._qpos_NQ.unsqueeze(1) - self._targets_T2
        entered_NT = away_NT2.square().sum(dim=2) <= TARGET_RADIUS**2
        right_N = entered_NT.gather(1, self.task_ND.long())[:, 0]
        terms = {"answer": right_N.to(torch.float64)}
        return Outcome(terms, entered_NT.any(dim=1), self.engine.diverged)

    def _loose(self) -> Tensor:
        """True, `(N,)`, where the next action moves the mass."""
        return self._step_N >= max(1, self.episode_length - GO_STEPS)

    def _observe(self) -> Tensor:
        # Not a product: −1 · 0 is −0, which still shows the sign.
        shown_N1 = (self._step_N == 0).unsqueeze(1)
        cue_N2 = torch.where(shown_N1, self._direction(self.task_ND), 0.0)
        return torch.cat([self._qpos_NQ, self._qvel_NV, cue_N2, self._loose().unsqueeze(1)], dim=1)

    def _direction(self, task_ND: Tensor) -> Tensor:
        """Where the target lies from the start, `(N, 2)`."""
        return self._targets_T2[task_ND[:, 0].long()]

    def expert_action(self, belief_ND: Tensor) -> Tensor:
        """Straight to the believed target."""
        return (self._direction(belief_ND) - self._qpos_NQ).clamp(-1.0, 1.0).to(torch.float32)

    def state_dict(self) -> dict[str, Tensor]:
        return super().state_dict() | {"step": self._step_N.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        super().load_state_dict(state)
        self._step_N = self._restored(state["step"])

    def render(self, world: int = 0) -> np.ndarray:
        """The plane: the target green while it is shown; the gate red, green when it is open."""
        sites = self.engine.mjmodel.site_rgba
        sites[:] = GREY
        if int(self._step_N[world]) == 0:
            sites[int(self.task_ND[world, 0])] = GREEN
        sites[len(TARGETS)] = GREEN if bool(self._loose()[world]) else RED
        return super().render(world)
