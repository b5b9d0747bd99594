"""Everything that runs: configuration, training, evaluation, keeping, the command line."""

import os

# How long OpenMP threads spin before they sleep. By default they spin for milliseconds, which takes
# whole cores from other processes; sleeping at once makes training on an idle machine half as fast
# (see the changelog). A short spin costs neither. libgomp reads this when torch is imported, so it
# must be set before; what the user has set is left alone.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
