"""The outer loop: finding a learning rule."""
