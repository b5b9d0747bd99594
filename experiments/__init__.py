"""Everything that runs: configuration, training, evaluation, keeping, the command line."""

import os

# OpenMP threads that wait by spinning take whole cores from the simulator and from other processes
# (a training beside one other busy process became 6 times slower). libgomp reads this once, when
# torch is imported, so it must be set before; what the user has set is left alone.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
