"""Walker2dRandParams: walk forwards on a body of unknown masses, friction and damping."""

from quickstudy.envs.families.rand_params import RandParams, rand_params
from quickstudy.envs.families.walker import Walker


class Walker2dRandParams(RandParams, Walker):
    """A planar biped that must walk on whatever body it has got.

    ## Task

    The exponents of 65 multipliers of the body's own values, base^exponent. Each is drawn from
    U[−3, 3]; `train` and `test` are told apart by the torso's mass, in disjoint cells of 0.06. Out
    of distribution, the torso's mass is from U[3, 4] and all others are from U[−4, 4].

    | index | name | base | unit |
    |---|---|---|---|
    | 0 | mass_torso | 1.5 | log |
    | 1–3 | mass_thigh, mass_leg, mass_foot | 1.5 | log |
    | 4–6 | mass_thigh_left, mass_leg_left, mass_foot_left | 1.5 | log |
    | 7 | mass_world | 1.5 | log |
    | 8–10 | inertia_1_torso, inertia_2_torso, inertia_3_torso | 1.5 | log |
    | 11–13 | inertia_1_thigh, inertia_2_thigh, inertia_3_thigh | 1.5 | log |
    | 14–16 | inertia_1_leg, inertia_2_leg, inertia_3_leg | 1.5 | log |
    | 17–19 | inertia_1_foot, inertia_2_foot, inertia_3_foot | 1.5 | log |
    | 20–22 | inertia_1_thigh_left, inertia_2_thigh_left, inertia_3_thigh_left | 1.5 | log |
    | 23–25 | inertia_1_leg_left, inertia_2_leg_left, inertia_3_leg_left | 1.5 | log |
    | 26–28 | inertia_1_foot_left, inertia_2_foot_left, inertia_3_foot_left | 1.5 | log |
    | 29–31 | inertia_1_world, inertia_2_world, inertia_3_world | 1.5 | log |
    | 32–34 | sliding_torso, torsional_torso, rolling_torso | 1.5 | log |
    | 35–37 | sliding_thigh, torsional_thigh, rolling_thigh | 1.5 | log |
    | 38–40 | sliding_leg, torsional_leg, rolling_leg | 1.5 | log |
    | 41–43 | sliding_foot, torsional_foot, rolling_foot | 1.5 | log |
    | 44–46 | sliding_thigh_left, torsional_thigh_left, rolling_thigh_left | 1.5 | log |
    | 47–49 | sliding_leg_left, torsional_leg_left, rolling_leg_left | 1.5 | log |
    | 50–52 | sliding_foot_left, torsional_foot_left, rolling_foot_left | 1.5 | log |
    | 53–55 | sliding_floor, torsional_floor, rolling_floor | 1.5 | log |
    | 56–58 | damping_rootx, damping_rootz, damping_rooty | 1.3 | log |
    | 59–61 | damping_thigh, damping_leg, damping_foot | 1.3 | log |
    | 62–64 | damping_thigh_left, damping_leg_left, damping_foot_left | 1.3 | log |

    Moments of inertia 1 and 2 are across a limb (2 is about the joints' axis), 3 is about it. Of
    all parameters, 28 change how the walker moves: the segments' masses and inertia_2, all sliding
    frictions, and the six joints' damping. The world has no mass, the slides and the pitch have no
    damping, nothing turns about another axis in a plane, and contacts neither twist nor roll.

    ## Observation

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0 | height of the torso | ℝ | rootz | m |
    | 1 | pitch of the torso | ℝ | rooty | rad |
    | 2–4 | right thigh, leg, foot angle | ℝ | thigh, leg, foot | rad |
    | 5–7 | left thigh, leg, foot angle | ℝ | thigh_left, leg_left, foot_left | rad |
    | 8 | forward velocity of the torso | [−10, 10] | rootx | m/s |
    | 9 | vertical velocity of the torso | [−10, 10] | rootz | m/s |
    | 10 | pitch velocity of the torso | [−10, 10] | rooty | rad/s |
    | 11–13 | right thigh, leg, foot velocity | [−10, 10] | thigh, leg, foot | rad/s |
    | 14–16 | left thigh, leg, foot velocity | [−10, 10] | thigh_left, leg_left, foot_left | rad/s |

    ## Action

    | index | meaning | range | joint | unit |
    |---|---|---|---|---|
    | 0–2 | right thigh, leg, foot torque | [−1, 1] | thigh, leg, foot | 100 N·m |
    | 3–5 | left thigh, leg, foot torque | [−1, 1] | thigh_left, leg_left, foot_left | 100 N·m |

    ## Reward

    `run` = forward velocity (m/s; the change of x over the step divided by 0.016 s), plus `alive` =
    1, minus `control` = 0.001 Σ action².

    ## Episode

    Starts at the model's rest pose with noise (positions and velocities U(−0.005, 0.005)).
    Terminates where the torso leaves heights 0.8–2.0 m or pitches by 1 rad; 200 steps (3.2 s) by
    default, 2 episodes per trial. Standing still earns up to 200: read scores beside the anchors.

    ## Physics

    Gymnasium's Walker2d-v5 body with an elliptic friction cone and the implicitfast integrator, 4 ×
    0.004 s per step. A contact's friction is the larger of the segment's and the floor's. Three
    independent multipliers seldom give moments of inertia that a body can have (none may exceed
    the sum of the others), so the third moment is clamped between the difference and the sum of
    the first two, which stay as drawn; in a plane, only the second is felt.

    ## Source

    The randomised walker of ProMP (Rothfuss et al. 2019) and PEARL (Rakelly et al. 2019), by the
    recipe of the rand_param_envs package.

    ## Peers

    PEARL and VariBAD have the same multipliers, reward, observation, termination and step of 4 ×
    0.004 s (they ask for 5 substeps, which their base class ignores). They integrate by RK4 in
    MuJoCo 1.31, give the right foot a friction of 0.9 and the left of 1.9, do not recompute what
    MuJoCo derives from masses (such as inverse weights), and leave impossible moments as they are,
    which planar motion does not feel. PEARL trains on a list of 40 tasks and evaluates on 10, other
    ones in each run; VariBAD draws afresh, without holding anything out.
    """

    task_space = rand_params(
        ("torso", "thigh", "leg", "foot", "thigh_left", "leg_left", "foot_left"),
        (
            *("rootx", "rootz", "rooty"),
            *("thigh", "leg", "foot", "thigh_left", "leg_left", "foot_left"),
        ),
    )
