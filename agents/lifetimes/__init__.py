"""Whole lifetimes of many agents at once, each learning by a rule of its own."""
