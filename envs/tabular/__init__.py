"""Finite tasks in torch alone, many at once: what learning rules are discovered on."""
