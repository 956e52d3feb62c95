# MuscleMap. `make` alone lists what there is.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install quickstart test test-quick lint format bench bench-flow clean

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

install: $(VENV)/installed  ## a virtual environment in .venv with the tested versions

quickstart: install  ## render the synthetic sample and run the three commands on it
	$(BIN)/musclemap quickstart

test: install  ## the whole test suite (2 processes)
	$(BIN)/python -m pytest -n 2 --dist loadscope

test-quick: install  ## the tests without the slow ones
	$(BIN)/python -m pytest -n 2 --dist loadscope -m "not slow"

lint: install  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install  ## let ruff rewrite
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: bench-flow  ## all speed measurements (minutes)

bench-flow: install  ## TV-L1 against OpenCV, side by side
	$(BIN)/python -m tests.bench.bench_flow

clean:  ## remove the environment and caches (never data)
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
