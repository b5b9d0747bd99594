"""Mixtures of Gaussians over levels, and the teachers that draw from them."""
