"""Memory, policy, objective and learner; sees the worlds only through `envs`."""
