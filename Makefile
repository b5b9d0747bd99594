# Each target makes .venv by itself and installs the tested set of packages into it.
PYTHON ?= python3
# The CPU build of torch. GPU users: make demo TORCH_INDEX=https://pypi.org/simple
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test test-slow check lint install clean

demo: $(INSTALLED)  ## meta-train RL² on HalfCheetahDir, print its adaptation table, film it
	$(BIN)/quickstudy train HalfCheetahDir

test: $(INSTALLED)  ## the test suite
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(INSTALLED)  ## what takes minutes
	$(BIN)/python -m pytest -m slow

check: lint test  ## format, lint, types, tests

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

install: $(INSTALLED)

$(INSTALLED): setup.cfg constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --retries 1 --extra-index-url $(TORCH_INDEX) -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf .venv build dist src/quickstudy.egg-info
