"""A whole run: train, score, write down; and what is left of finished runs.

A run is a folder ``runs/NAME`` in the data directory::

    settings.json       model, settings, and which clips it saw
    checkpoints/        while training; removed when the run is complete
    log.jsonl           one line an optimiser step
    model.safetensors   the trained weights
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
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from benchmark.checkpoint import save_weights
from benchmark.clips import Clip, check_modalities, read_clips
from benchmark.data import ClipDataset
from benchmark.machine import Processes, choose_device, join_processes, prepare_torch
from benchmark.models import MODELS
from benchmark.protocols.folds import fold_splits
from benchmark.protocols.teacher import fingerprint_teacher, prepare_teacher, start_from_teacher
from benchmark.record import (
    DataRecord,
    Difference,
    MachineRecord,
    RunIdentity,
    RunRecord,
    read_record,
)
from benchmark.score import (
    EVALUATION_SPLITS,
    compare_predictions,
    read_predictions,
    score_model,
    write_predictions,
)
from benchmark.settings import Settings, nearest_name
from benchmark.train import StepHook, is_trainable, train
from musclemap_data.catalog import SPLITS
from musclemap_data.errors import UserError
from musclemap_data.shards import read_dataset_info

Fold = tuple[int, int]
"""Which fold, from 1, and how many there are."""


def default_run_name(model_name: str, settings: Settings, fold: Fold | None = None) -> str:
    """``transm3e-tiny-seed0``, with what differs from the preset: ``transm3e-tiny-epochs4-seed0``.

    So runs with other settings have other names, and do not get in each other's way.
    """
    changes = settings.changes()
    text = "-".join(f"{name}{_UNFIT_FOR_NAMES.sub('_', str(changes[name]))}" for name in changes)
    if len(text) > 60:
        text = hashlib.sha256(json.dumps(changes).encode()).hexdigest()[:8]
    parts = [model_name, settings.preset, text, f"seed{settings.seed}"]
    if fold is not None:
        parts.append(f"fold{fold[0]}of{fold[1]}")
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


def benchmark_run(
    data_dir: Path,
    model_name: str,
    settings: Settings,
    *,
    runs_dir: Path | None = None,
    name: str | None = None,
    fresh: bool = False,
    subset: Collection[str] | None = None,
    fold: Fold | None = None,
    build: Callable[[Settings], nn.Module] | None = None,
    progress_bar: bool = False,
    on_step: StepHook | None = None,
) -> RunRecord:
    """Train a model on ``train``, score it on known and new activities, write it all down.

    A run that is complete is read, not repeated; one that was stopped goes on from its last
    checkpoint. Under torchrun all processes call this.

    Args:
        data_dir: a data set with ``dataset.json`` and ``shards/``.
        model_name: a key of ``benchmark.models.MODELS``.
        runs_dir: where run folders go; ``data_dir / "runs"`` if not given.
        name: the run's folder; :func:`default_run_name` if not given.
        fresh: remove what an earlier run of this name left.
        subset: keep these clip ids of all splits.
        fold: train and score on this fold of the protocol activity-folds
            (:mod:`benchmark.protocols.folds`) instead of the data set's own splits.
        build: makes the model, where ``model_name`` is no key of ``MODELS``.

    Raises:
        MissingModality: clips lack what the model reads. Nothing was trained or written.
        UserError: no such model, no data, unreadable data, a run of that name with other settings
            or other clips, or training that did not stay finite.
    """
    build = build or MODELS.get(model_name)
    if build is None:
        raise UserError(
            f"there is no model {model_name!r}{nearest_name(model_name, MODELS)} "
            f"(all: {', '.join(MODELS)})"
        )
    data_dir = Path(data_dir)
    info = read_dataset_info(data_dir)
    run_dir = Path(runs_dir or data_dir / "runs") / (
        name or default_run_name(model_name, settings, fold)
    )
    _check_run_name(run_dir.name)
    clips = read_clips(data_dir, SPLITS, subset)
    if subset is not None:
        missing = sorted(set(subset) - {clip.clip_id for clip in clips})
        if missing:
            raise UserError(
                f"{len(missing)} clips of the subset are not in {data_dir}: "
                f"{', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}. Build them with "
                "`musclemap download` and `musclemap extract-modalities`, or shorten the subset."
            )
    data = DataRecord(
        info.get("name", data_dir.name), clips_fingerprint(clips), subset=subset is not None
    )
    assigned: dict[str, str] | None = None
    if fold is not None:
        assigned = fold_splits(clips, *fold)
        clips = read_clips(data_dir, SPLITS, subset, assigned)
        data = replace(
            data,
            all_clips=data.fingerprint,
            fingerprint=clips_fingerprint(clips),
            fold=fold[0],
            folds=fold[1],
        )
    with join_processes(settings.device) as processes:
        device = choose_device(settings.device, processes)
        prepare_torch(settings, device)
        if settings.pretrain_teacher:  # before hours go into a teacher that nothing can use
            check_modalities(clips, build(settings).modalities)  # type: ignore[arg-type]
        teacher = prepare_teacher(
            data_dir, model_name, settings, data, runs_dir=run_dir.parent, subset=subset, fold=fold,
            progress_bar=progress_bar, on_step=on_step,
        )  # fmt: skip
        if processes.first and fresh:
            _remove_run(run_dir)
        processes.wait()
        identity = RunIdentity(model_name, settings, data, fingerprint_teacher(teacher))
        complete = _finished_run(run_dir, identity)
        if complete is not None:
            return complete
        torch.manual_seed(settings.seed)  # the first weights
        model = build(settings)
        start_from_teacher(model, teacher)
        check_modalities(clips, model.modalities)  # type: ignore[arg-type]
        processes.wait()
        if processes.first and not (run_dir / "settings.json").exists():
            run_dir.mkdir(parents=True, exist_ok=True)
            identity.write(run_dir)
        processes.wait()
        return _run(
            model.to(device),
            data_dir,
            {} if fold or subset is not None else info.get("splits") or {},
            identity,
            settings,
            run_dir,
            device=device,
            processes=processes,
            subset=subset,
            assigned=assigned,
            progress_bar=progress_bar,
            on_step=on_step,
        )


def _run(
    model: nn.Module,
    data_dir: Path,
    planned: Mapping[str, Mapping[str, int]],
    identity: RunIdentity,
    settings: Settings,
    run_dir: Path,
    *,
    device: torch.device,
    processes: Processes,
    subset: Collection[str] | None,
    assigned: Mapping[str, str] | None,
    progress_bar: bool,
    on_step: StepHook | None,
) -> RunRecord:
    modalities: Sequence[str] = model.modalities  # type: ignore[assignment]
    training, testing = (
        ClipDataset(
            data_dir,
            splits,
            modalities,
            settings,
            train=splits == ("train",),
            subset=subset,
            assigned=assigned,
        )
        for splits in (("train",), EVALUATION_SPLITS)
    )
    fit_labels = getattr(model, "fit_labels", None)
    if fit_labels is not None and training.clips:
        fit_labels(torch.from_numpy(training.labels()).float().to(device))
    trained = None
    if is_trainable(model) and settings.epochs:
        trained = train(
            model,
            training,
            settings,
            run_dir,
            device=device,
            processes=processes,
            progress_bar=progress_bar,
            on_step=on_step,
        )
    predictions, cost, scores = score_model(
        model,
        testing,
        settings,
        {split: numbers.get("planned") for split, numbers in planned.items()},
        device=device,
        processes=processes,
        progress_bar=progress_bar,
    )
    parameters = list(model.parameters())
    record = RunRecord(
        run=run_dir.name,
        model=identity.model,
        preset=settings.preset,
        seed=settings.seed,
        changes=settings.changes(),
        modalities=tuple(modalities),
        data=identity.data,
        teacher=identity.teacher,
        train_clips=len(training.clips),
        parameters=sum(parameter.numel() for parameter in parameters),
        trained_parameters=sum(p.numel() for p in parameters if p.requires_grad),
        training=trained,
        machine=MachineRecord(
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            processes=processes.count,
            python=platform.python_version(),
            torch=torch.__version__,
        ),
        cost=cost,
        scores=scores,
    )
    if processes.first:
        save_weights(run_dir / "model.safetensors", model)
        write_predictions(run_dir / "predictions.parquet", predictions)
        record.write(run_dir)
        shutil.rmtree(run_dir / "checkpoints", ignore_errors=True)
    processes.wait()
    return record


def clips_fingerprint(clips: Sequence[Clip]) -> str:
    """A hash of which clips there are, in which splits and order, with which labels and lengths."""
    digest = hashlib.sha256()
    for clip in clips:
        labels = "".join("01"[active] for active in clip.muscles)
        digest.update(f"{clip.split} {clip.clip_id} {clip.frames} {labels}\n".encode())
    return digest.hexdigest()


def _check_run_name(name: str) -> None:
    if not name or name in (".", "..") or any(sign in name for sign in "/\\\0") or name[0] == ".":
        raise UserError(f"{name!r} cannot name a run; use letters, digits, - and _")


def _remove_run(run_dir: Path) -> None:
    """Remove a run's folder, but nothing that is not one."""
    if not run_dir.exists():
        return
    if not (run_dir / "settings.json").is_file() and any(run_dir.iterdir()):
        raise UserError(f"{run_dir} is not a run (no settings.json); it was not removed")
    shutil.rmtree(run_dir)


def _finished_run(run_dir: Path, identity: RunIdentity) -> RunRecord | None:
    """The record of a run that is complete, after making sure that the folder is this run's."""
    if not (run_dir / "settings.json").exists():
        return None
    identity.check_same(run_dir)
    return read_record(run_dir)


def compare_runs(first: Path, second: Path) -> dict[str, Difference]:
    """:func:`benchmark.score.compare_predictions` of two run folders."""
    return compare_predictions(
        *(read_predictions(Path(each) / "predictions.parquet") for each in (first, second))
    )
