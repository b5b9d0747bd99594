"""What all tests share."""

import os

# Before anything imports torch: see quickstudy/experiments/__init__.py.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
