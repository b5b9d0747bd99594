# Each target makes .venv by itself and installs the tested set of packages into it.
PYTHON ?= python3
# make demo GPU=1 takes PyPI's build of torch, which on Linux brings CUDA (several GB).
ifdef GPU
TORCH := torch==2.13.0
else
TORCH := --extra-index-url https://download.pytorch.org/whl/cpu torch==2.13.0+cpu
endif

BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test test-slow check lint install clean

demo: $(INSTALLED)  ## meta-train RL² on HalfCheetahDir, print its adaptation table, film it
	$(BIN)/quickstudy train HalfCheetahDir

test: $(INSTALLED)  ## the test suite
	$(BIN)/python -m pytest -m "not slow" -n auto --maxprocesses 8

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
	$(BIN)/pip install --quiet --retries 1 --no-deps $(TORCH)
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf .venv build dist src/quickstudy.egg-info
