"""Parkour: courses of boxes, the bodies that run them, and what the parkour families share."""
