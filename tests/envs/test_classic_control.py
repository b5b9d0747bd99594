"""CartPole and Pendulum: Gymnasium's at the middle of their ranges, and solvable all over them."""

import math

import gymnasium
import numpy as np
import pytest
import torch

from quickstudy.envs import rng
from quickstudy.envs.registry import family_class, make_family
from quickstudy.envs.trials import FixedTasks, TrialEnv


def middle(name):
    """The task in the middle of all ranges, `(1, D)`."""
    parameters = family_class(name).task_space.parameters
    return torch.tensor([[(p.low + p.high) / 2 for p in parameters]], dtype=torch.float64)


def started(name, task_ND, seed=0):
    family = make_family(name, len(task_ND))
    keys = rng.world_keys(seed, rng.Stream.EPISODE, len(task_ND))
    family.reset(torch.ones(len(task_ND), dtype=torch.bool), task_ND, keys)
    return family


@pytest.fixture(name="cart")
def _cart():
    env = gymnasium.make("CartPole-v1").unwrapped
    env.reset(seed=0)
    yield env
    env.close()


@pytest.fixture(name="rod")
def _rod():
    env = gymnasium.make("Pendulum-v1").unwrapped
    env.reset(seed=0)
    yield env
    env.close()


def test_the_middle_cart_pole_is_gymnasiums_until_the_pole_has_fallen(cart):
    family = started("CartPole", middle("CartPole"))
    cart.state = family.state_dict()["state"][0].numpy().copy()
    for step in range(200):
        action = 1 if cart.state[2] + cart.state[3] > 0.02 * math.sin(step) else 0
        observation, reward, terminated, _, _ = cart.step(action)
        outcome = family.step(torch.tensor([action]))
        np.testing.assert_allclose(family.observe()[0], observation, rtol=1e-6, atol=1e-7)
        assert (float(outcome.reward), bool(outcome.terminated)) == (reward, terminated)
        if terminated:
            break
    assert step > 20


@pytest.mark.filterwarnings("ignore:.*already returned terminated")
def test_cart_poles_limits_and_reward_after_the_fall_are_gymnasiums(cart):
    """One push to the right too many: both fall at the same step and then earn nothing."""
    family = started("CartPole", middle("CartPole"))
    cart.state = family.state_dict()["state"][0].numpy().copy()
    fallen = []
    for _ in range(20):
        _, reward, terminated, _, _ = cart.step(1)
        outcome = family.step(torch.tensor([1]))
        assert (float(outcome.reward), bool(outcome.terminated)) == (reward, terminated)
        fallen.append(terminated)
    assert fallen[0] is False
    assert fallen[-1] is True


def test_a_push_worked_by_hand():
    """Upright and at rest: half length 0.5, pole 0.1 kg, 11 N push.

    The common term is 11/1.1 = 10; the pole's inertia 0.5 (4/3 − 0.1/1.1) = 0.621212, so it turns
    by −10/0.621212 = −16.09756 rad/s²; the cart gains 10 + 0.05 · 16.09756/1.1 = 10.73171 m/s².
    After 0.02 s: 0.2146341 m/s and −0.3219512 rad/s.
    """
    family = started("CartPole", torch.tensor([[0.5, 0.1, 11.0]], dtype=torch.float64))
    blank = torch.zeros(1, 4, dtype=torch.float64)
    family.load_state_dict({"task": family.task_ND, "state": blank})
    family.step(torch.tensor([1]))
    expected = [0.0, 0.2146341, 0.0, -0.3219512]
    assert family.observe()[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_the_middle_pendulum_is_gymnasiums_step_by_step(rod):
    family = started("Pendulum", middle("Pendulum"))
    state = family.state_dict()
    rod.state = np.array([float(state["angle"]), float(state["speed"])])
    for step in range(200):
        torque = 1.2 * math.sin(0.3 * step)  # beyond the motor's strength now and then
        observation, reward, _, _, _ = rod.step(np.array([2.0 * torque], np.float64))
        outcome = family.step(torch.tensor([[torque]], dtype=torch.float64))
        np.testing.assert_allclose(family.observe()[0], observation, rtol=1e-5, atol=1e-5)
        assert float(outcome.reward) == pytest.approx(float(reward), rel=1e-9)


def test_a_swing_worked_by_hand():
    """Hanging out sideways (π/2) at 1 rad/s; g 10, m 1, l 1, full torque 2 N·m.

    Reward −(π/2)² − 0.1 − 0.004. Acceleration 15 + 6 = 21 rad/s²: 2.05 rad/s after 0.05 s.
    """
    family = started("Pendulum", middle("Pendulum"))
    angle, speed = (torch.tensor([x], dtype=torch.float64) for x in (math.pi / 2, 1.0))
    family.load_state_dict({"task": family.task_ND, "angle": angle, "speed": speed})
    outcome = family.step(torch.ones(1, 1))
    assert float(outcome.reward) == pytest.approx(-(math.pi**2) / 4 - 0.104)
    assert float(family.observe()[0, 2]) == pytest.approx(2.05)


def corners(name):
    """The extreme tasks of train, test and ood."""
    space = family_class(name).task_space
    box = [(p.low, p.high) for p in space.parameters]
    boxes = torch.tensor([box, space.ood_bounds], dtype=torch.float64)
    return torch.cat([torch.cartesian_prod(*bounds) for bounds in boxes])


def steer(observation):
    """Push the cart to where the pole is falling, and a little to where the cart comes back."""
    x, speed, angle, turning = observation.unbind(1)
    return (0.1 * x + 0.3 * speed + 3.0 * angle + turning > 0).long()


def swing(observation, task):
    """Pump energy until there is enough to stand up, then hold (Åström & Furuta 2000)."""
    cosine, sine, speed = observation.double().unbind(1)
    gravity, _, length = task.unbind(1)
    missing = 3.0 * gravity / length * (1.0 - cosine) - speed.square()
    pump = torch.where(missing > 0, speed.sign(), -0.5 * speed.sign())
    hold = -(8.0 * sine + 2.5 * speed)
    near = (cosine > 0.9) & (speed.abs() < 3.0)
    return torch.where(near, hold, pump).clamp(-1, 1).unsqueeze(1).float()


def test_every_cart_pole_can_be_balanced():
    tasks = corners("CartPole")
    env = TrialEnv("CartPole", len(tasks), task_source=FixedTasks(tasks))
    step = env.reset(0)
    for _ in range(env.trial_length):
        step = env.step(steer(step.observation))
    assert torch.equal(env.finished().returns, torch.full((len(tasks), 1), 500.0).double())


def test_every_pendulum_can_be_swung_up():
    """In the last third of 400 steps every rod stands."""
    tasks = corners("Pendulum")
    env = TrialEnv("Pendulum", len(tasks), task_source=FixedTasks(tasks), episode_length=400)
    step, upright = env.reset(0), []
    for _ in range(399):
        step = env.step(swing(step.observation, tasks))
        upright.append(step.observation[:, 0] > 0.95)
    assert bool(torch.stack(upright[-130:]).all())
