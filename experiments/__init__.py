"""Everything that runs: configuration, training, evaluation, keeping, the command line."""

import os

# How long OpenMP threads spin before they sleep. By default they spin for milliseconds, which takes
# whole cores from other processes (a small update beside other work: 8 s instead of 0.9 s);
# sleeping at once makes an idle machine 2.6 times slower. A short spin costs neither. libgomp reads
# this when torch is imported, so it must be set before; what the user has set is left alone.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
