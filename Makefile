# `make demo` and `make test` need nothing but Python 3.11 or newer; PYTHON=... names another one.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A worker for each core, of one thread each.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n auto

.PHONY: demo test test-slow test-gpu docs clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Always installs again: a new entry point is invisible to an old editable install.
demo: $(BIN)/python
	$(BIN)/pip install --quiet --editable .
	$(BIN)/qcli train
	@echo "to type qcli: . $(BIN)/activate"

.PHONY: dev
dev: $(BIN)/python
	$(BIN)/pip install --quiet --editable ".[dev]"

test: dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST)

test-slow: dev
	$(PYTEST) -m slow

test-gpu: dev
	$(BIN)/pytest -m gpu

# Any warning, such as a link that leads nowhere, is an error.
docs: $(BIN)/python
	$(BIN)/pip install --quiet --editable ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "open site/index.html"

clean:
	rm -rf $(VENV) site .mypy_cache .ruff_cache .pytest_cache
