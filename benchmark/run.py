"""A whole run: make the model, train it, score it, write everything down.

A run is a folder ``runs/NAME`` in the data directory::

    settings.json       model, settings, and which clips it saw
    checkpoints/        while training; removed when the run is complete
    log.jsonl           one line an optimiser step
    validation.jsonl    one line an epoch: validation mAP
    model.safetensors   the trained weights
    MODEL_CARD.md       what it is, what it saw, what it scores, what it is not for
    predictions.parquet the scores of every validation and test clip
    metrics.json        what the tables print, and more; written last: the run is done
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmark.card import model_card
from benchmark.checkpoint import save_weights
from benchmark.clips import Clip, check_modalities, of_quality, read_clips
from benchmark.data import ClipDataset
from benchmark.features import FEATURES, features_of
from benchmark.identity import RunIdentity
from benchmark.machine import Processes, choose_device, join_processes, prepare_torch
from benchmark.models import MODELS, need_model
from benchmark.models.transm3e import TransM3E, load_teacher
from benchmark.predictions import EVALUATION_SPLITS, mean_average_precision, write_predictions
from benchmark.record import (
    DataRecord,
    MachineRecord,
    RunRecord,
    TrainingRecord,
    clips_fingerprint,
    read_record,
)
from benchmark.score import predict, score_model
from benchmark.settings import Settings
from benchmark.train import EpochHook, StepHook, is_trainable, train
from musclemap_data.catalog import SPLITS, is_synthetic
from musclemap_data.errors import UserError
from musclemap_data.files import file_sha256, write_text
from musclemap_data.shards import read_dataset_info


@dataclass(frozen=True)
class Fold:
    """One of several experiments on the same clips.

    Attributes:
        number: which one, from 1.
        count: how many there are.
        assign: from all clips, the split of each by its id; a clip that is left out takes no part.
        protocol: how the activities were dealt (:mod:`benchmark.protocols.folds`).
    """

    number: int
    count: int
    assign: Callable[[Sequence[Clip]], Mapping[str, str]]
    protocol: str


def default_run_name(model: str, settings: Settings, fold: Fold | None = None) -> str:
    """``transm3e-tiny-seed0``, with what differs from the preset: ``transm3e-tiny-epochs4-seed0``.

    So runs with other settings have other names, and do not get in each other's way.
    """
    changes = settings.changes()
    text = "-".join(f"{name}{_UNFIT_FOR_NAMES.sub('_', str(changes[name]))}" for name in changes)
    if len(text) > 60:
        text = hashlib.sha256(json.dumps(changes).encode()).hexdigest()[:8]
    parts = [model, settings.preset, text, f"seed{settings.seed}"]
    if fold is not None:
        parts.append(f"{fold.protocol.removesuffix('s')}{fold.number}of{fold.count}")
    return "-".join(filter(None, parts))


_UNFIT_FOR_NAMES = re.compile(r"[^A-Za-z0-9.]+")


def read_subset(path: Path) -> frozenset[str]:
    """Clip ids from a text file, one a line; empty lines and lines that start with # are skipped.

    Raises:
        UserError: the file cannot be read or names no clip.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the subset {path} cannot be read: {error}") from error
    ids = frozenset(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    if not ids:
        raise UserError(f"the subset {path} names no clip; write one clip id a line")
    return ids


@dataclass(frozen=True)
class Prepared:
    """A run that can start: the model on its device, the clips to train and to score on."""

    model: nn.Module
    training: ClipDataset
    testing: ClipDataset
    device: torch.device
    processes: Processes


@dataclass(frozen=True)
class Run:
    """A model to be trained on ``train`` and scored on known and new activities.

    :meth:`complete` does all of it. A run that needs a teacher is completed by
    :func:`benchmark.protocols.teacher.complete_run`.

    Attributes:
        data: a data set with ``dataset.json`` and ``shards/``.
        model: a key of ``benchmark.models.MODELS``.
        subset: keep these clip ids of all splits; None keeps all.
        fold: train and score on this fold (:mod:`benchmark.protocols.folds`) instead of the data
            set's own splits.
        runs_dir: where run folders go; ``data / "runs"`` if not given.
        name: the run's folder; :func:`default_run_name` if not given.
        teacher: the weights that TransM3E's second stream starts from.
        build: makes the model, where ``model`` is no key of ``MODELS``.
    """

    data: Path
    model: str
    settings: Settings
    subset: Collection[str] | None = None
    fold: Fold | None = None
    _: KW_ONLY
    runs_dir: Path | None = None
    name: str | None = None
    teacher: Path | None = None
    build: Callable[[Settings], nn.Module] | None = None

    def __post_init__(self) -> None:
        if self.build is None:
            need_model(self.model)
        name = self.folder.name
        if not name or name in (".", "..") or set(name) & set("/\\\0") or name[0] == ".":
            raise UserError(f"{name!r} cannot name a run; use letters, digits, - and _")

    def complete(
        self, *, fresh: bool = False, progress_bar: bool = False, on_step: StepHook | None = None
    ) -> RunRecord:
        """Prepare, train and score; under torchrun all processes call this.

        A run that is complete is read, not repeated; one that was stopped goes on from its last
        checkpoint.

        Args:
            fresh: remove what an earlier run of this name left.

        Raises:
            MissingModality: clips lack what the model reads. Nothing was trained or written.
            UserError: no such model, no data, unreadable data, a run of that name with other
                settings or other clips, or training that did not stay finite.
        """
        identity = self.identity
        with join_processes(self.settings.device) as processes:
            if processes.first and fresh:
                _remove_run(self.folder)
            processes.wait()
            if (self.folder / "settings.json").exists():
                identity.check_same(self.folder)
                if (done := read_record(self.folder)) is not None:
                    return done
            ready = self.prepare(processes)
            training = self.train(ready, progress_bar=progress_bar, on_step=on_step)
            return self.score(ready, training, progress_bar=progress_bar)

    @cached_property
    def folder(self) -> Path:
        """The run's folder."""
        name = self.name or default_run_name(self.model, self.settings, self.fold)
        return Path(self.runs_dir or Path(self.data) / "runs") / name

    @cached_property
    def _listed(self) -> Sequence[Clip]:
        """The clips of all splits, as the data set splits them."""
        clips = read_clips(self.data, SPLITS, self.subset)
        missing = sorted(set(self.subset or ()) - {clip.clip_id for clip in clips})
        if missing:
            raise UserError(
                f"{len(missing)} clips of the subset are not in {self.data}: "
                f"{', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}. Build them with "
                "`musclemap download` and `musclemap extract-modalities`, or shorten the subset."
            )
        return clips

    @cached_property
    def _all_clips(self) -> Sequence[Clip]:
        """Those of them that are trained or scored on, see ``Settings.min_skeleton_quality``."""
        least = self.settings.min_skeleton_quality
        kept = of_quality(self._listed, least)
        if not kept and self._listed:
            raise UserError(
                f"no clip of {self.data} has a skeleton of quality {least:g}: give a lower "
                "--min-skeleton-quality"
            )
        return kept

    @property
    def _bad_skeletons(self) -> int | None:
        """How many clips are left out for the quality of their skeleton; None without a limit."""
        if not self.settings.min_skeleton_quality:
            return None
        return len(self._listed) - len(self._all_clips)

    @cached_property
    def _kept(self) -> Collection[str] | None:
        """The ids of the clips to read; None for all."""
        if not self.settings.min_skeleton_quality:
            return self.subset
        return frozenset(clip.clip_id for clip in self._all_clips)

    @cached_property
    def _assigned(self) -> Mapping[str, str] | None:
        """The split of each clip in this fold."""
        return None if self.fold is None else self.fold.assign(self._all_clips)

    @cached_property
    def clips(self) -> Sequence[Clip]:
        """The clips of this run, in its splits."""
        if self._assigned is None:
            return self._all_clips
        return read_clips(self.data, SPLITS, self._kept, self._assigned)

    @cached_property
    def _info(self) -> Mapping[str, Any]:
        """The content of ``dataset.json``."""
        return read_dataset_info(self.data)

    @cached_property
    def data_record(self) -> DataRecord:
        """Which clips this run is about."""
        name = self._info.get("name", Path(self.data).name)
        subset = self.subset is not None
        if self.fold is None:
            return DataRecord(
                name, clips_fingerprint(self.clips), subset, bad_skeletons=self._bad_skeletons
            )
        return DataRecord(
            name,
            clips_fingerprint(self.clips),
            subset,
            all_clips=clips_fingerprint(self._all_clips),
            fold=self.fold.number,
            folds=self.fold.count,
            protocol=self.fold.protocol,
            bad_skeletons=self._bad_skeletons,
        )

    @cached_property
    def identity(self) -> RunIdentity:
        """What decides the weights of this run."""
        teacher = None if self.teacher is None else file_sha256(self.teacher)
        return RunIdentity(self.model, self.settings, self.data_record, teacher)

    def new_model(self) -> nn.Module:
        """The model before training, with the same first weights each time.

        Raises:
            UserError: weights that it starts from cannot be read or do not fit.
            ValueError: its second stream needs a teacher, and the run has none.
        """
        torch.manual_seed(self.settings.seed)
        model = (self.build or MODELS[self.model])(self.settings)
        if self.teacher is not None:
            if not isinstance(model, TransM3E):
                raise TypeError(f"{type(model).__name__} has no second stream to start")
            load_teacher(model, self.teacher)
        elif isinstance(model, TransM3E) and (
            model.freeze_teacher or self.settings.pretrain_teacher or self.settings.teacher_weights
        ):
            raise ValueError(
                "this run needs a teacher: complete it with "
                "benchmark.protocols.teacher.complete_run"
            )
        return model

    def prepare(self, processes: Processes | None = None) -> Prepared:
        """Make the model, open the clips, and write ``settings.json``.

        Raises:
            MissingModality: clips lack what the model reads. Nothing was written.
            UserError: as :meth:`complete`; or there is no such device.
        """
        settings, processes = self.settings, processes or Processes()
        device = choose_device(settings.device, processes)
        prepare_torch(settings, device)
        model = self.new_model()
        check_modalities(self.clips, modalities(model))
        if FEATURES in modalities(model):
            features_of(self.clips, settings)
        processes.wait()
        if processes.first and not (self.folder / "settings.json").exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            self.identity.write(self.folder)
        processes.wait()
        training = self._dataset(("train",), model, settings, train=True)
        testing = self._dataset(EVALUATION_SPLITS, model, settings)
        return Prepared(model.to(device), training, testing, device, processes)

    def _dataset(
        self, splits: Sequence[str], model: nn.Module, settings: Settings, *, train: bool = False
    ) -> ClipDataset:
        """The clips of some splits that take part in this run, as the model reads them."""
        return ClipDataset(
            self.data,
            splits,
            modalities(model),
            settings,
            train=train,
            subset=self._kept,
            assigned=self._assigned,
        )

    def train(
        self, ready: Prepared, *, progress_bar: bool = False, on_step: StepHook | None = None
    ) -> TrainingRecord | None:
        """Train the model in place, from the run's last checkpoint if there is one.

        Returns:
            What it took; None for a model that is not trained step by step.
        """
        model, training = ready.model, ready.training
        fit = getattr(model, "fit", None)
        if fit is not None and training.clips:
            fit(training)
        if not is_trainable(model) or not self.settings.epochs:
            return None
        return train(
            model,
            training,
            self.settings,
            self.folder,
            device=ready.device,
            processes=ready.processes,
            progress_bar=progress_bar,
            on_step=on_step,
            validate=self._validation(ready),
        )

    def _validation(self, ready: Prepared) -> EpochHook | None:
        """Validation mAP of a model in training, from the middle view of each clip."""
        if not self.settings.validate_every:
            return None
        splits = ("val_known", "val_new")
        clips = self._dataset(splits, ready.model, replace(self.settings, test_views=1))
        if not clips.clips:
            return None

        def validate(model: nn.Module) -> Mapping[str, float]:
            found = predict(
                model, clips, self.settings, device=ready.device, processes=ready.processes
            )
            values = {split: mean_average_precision(found.of_split(split)) for split in splits}
            return {split: value for split, value in values.items() if value is not None}

        return validate

    def score(
        self, ready: Prepared, training: TrainingRecord | None, *, progress_bar: bool = False
    ) -> RunRecord:
        """Score the trained model and write everything down; the run is complete.

        Args:
            training: what :meth:`train` returned.
        """
        model, settings = ready.model, self.settings
        whole = self.fold is None and self.subset is None
        planned = self._info.get("splits") or {} if whole else {}
        predictions, cost, scores = score_model(
            model,
            ready.testing,
            settings,
            {split: numbers.get("planned") for split, numbers in planned.items()},
            device=ready.device,
            processes=ready.processes,
            progress_bar=progress_bar,
            trained=ready.training.labels(),
        )
        on_gpu = ready.device.type == "cuda"
        parameters = list(model.parameters())
        record = RunRecord(
            run=self.folder.name,
            model=self.model,
            preset=settings.preset,
            seed=settings.seed,
            changes=settings.changes(),
            modalities=tuple(modalities(model)),
            data=self.data_record,
            teacher=self.identity.teacher,
            train_clips=len(ready.training.clips),
            parameters=sum(parameter.numel() for parameter in parameters),
            trained_parameters=sum(p.numel() for p in parameters if p.requires_grad),
            training=training,
            machine=MachineRecord(
                device=torch.cuda.get_device_name(ready.device) if on_gpu else "cpu",
                processes=ready.processes.count,
                python=platform.python_version(),
                torch=torch.__version__,
            ),
            cost=cost,
            scores=scores,
            start=_start(settings),
        )
        if ready.processes.first:
            save_weights(self.folder / "model.safetensors", model)
            write_predictions(self.folder / "predictions.parquet", predictions)
            synthetic = is_synthetic(clip.video_id for clip in self.clips)
            write_text(self.folder / "MODEL_CARD.md", model_card(record, synthetic=synthetic))
            record.write(self.folder)
            shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)
        ready.processes.wait()
        return record


def _start(settings: Settings) -> str | None:
    """The weights that a run started from: ``SLOW_8x8_R50.pyth (sha256 0123abcd)``."""
    if settings.pretrained is None:
        return None
    path = Path(settings.pretrained)
    known = f"sha256 {file_sha256(path)[:8]}" if path.is_file() else "the file is gone"
    return f"{path.name} ({known})"


def modalities(model: nn.Module) -> Sequence[str]:
    """What a model reads, of ``rgb``, ``rgb_diff``, ``flow`` and ``skeleton``."""
    return model.modalities  # type: ignore[return-value]


def _remove_run(run_dir: Path) -> None:
    """Remove a run's folder, but nothing that is not one."""
    if not run_dir.exists():
        return
    if not (run_dir / "settings.json").is_file() and any(run_dir.iterdir()):
        raise UserError(f"{run_dir} is not a run (no settings.json); it was not removed")
    shutil.rmtree(run_dir)
