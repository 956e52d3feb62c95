# MuscleMap. `make` alone lists what there is.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install quickstart test test-quick lint format bench bench-flow bench-extract bench-memory \
	bench-pose bench-loader bench-model real-clips images clean

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

bench: bench-flow bench-extract bench-memory bench-pose bench-loader bench-model  ## all measurements (an hour)

bench-flow: install  ## TV-L1 against OpenCV: speed, error, energy
	$(BIN)/python -m tests.bench.bench_flow

bench-extract: install  ## extraction end to end against a plain pipeline
	$(BIN)/python -m tests.bench.bench_extract

bench-memory: install  ## peak memory: ten-minute against ten-second clip
	$(BIN)/python -m tests.bench.bench_memory

bench-pose: install  ## skeletons on real clips: found, jitter, lag
	$(BIN)/python -m tests.bench.bench_pose ../shared/real_clips

bench-loader: install  ## shards against a folder of mp4 files
	$(BIN)/python -m tests.bench.bench_loader

bench-model: install  ## our MViTv2 and TransM3E against torchvision
	$(BIN)/python -m tests.bench.bench_model

real-clips: install  ## the three commands on real clips, if ../shared has them
	$(BIN)/python -m tests.bench.real_clips data/real

images: install  ## the README's picture, from the quickstart's data
	$(BIN)/python -m tests.bench.draw_modalities data/quickstart/data docs/images/modalities.jpg

clean:  ## remove the environment and caches (never data)
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
