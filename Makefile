# make demo   install, run the whole chain on the demo's data, print the table and where the report is
# make test   install, then lint, types, import contracts and tests
PYTHON ?= python3
TORCH_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
# A lock file with hashes would name package hosts; versions alone are pinned.
PIP := $(BIN)/pip --disable-pip-version-check --quiet
SOURCES := src tests benchmarks

.PHONY: demo test install model lint types contracts pytest clean

demo: install model
	$(BIN)/sense run recipes/demo.yaml

test: install model lint types contracts pytest

install: $(VENV)/.installed

model: install
	@$(BIN)/sense model get smollm2-135m

lint: install
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

types: install
	$(BIN)/mypy

contracts: install
	$(BIN)/lint-imports

pytest: install
	$(BIN)/pytest

clean:
	rm -rf $(VENV) runs build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# torch first, so that no other package's looser range picks it. On Linux the package index's own build is the one for
# CUDA, some gigabytes; for the smaller CPU build: make TORCH_ARGS="--index-url URL" with PyTorch's CPU index.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --constraint constraints.txt $(TORCH_ARGS) torch
	$(PIP) install --constraint constraints.txt --editable ".[train,report,benchmark,dev]"
	@touch $@
