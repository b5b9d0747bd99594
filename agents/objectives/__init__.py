"""Learning objectives, one per file."""
