"""Task families, the physics they run on, and the trials they are played in."""
