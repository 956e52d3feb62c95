"""A fused model scored with one of its modalities missing.

Nothing is trained: the finished run's weights score the same clips once more, from a batch without
that modality. The scores go into the run's ``metrics.json`` under ``dropped``, and into
``predictions-without-MODALITY.parquet``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from benchmark.checkpoint import load_weights
from benchmark.data import ClipDataset
from benchmark.identity import read_identity
from benchmark.machine import choose_device, join_processes, prepare_torch
from benchmark.models import MODELS
from benchmark.predictions import (
    EVALUATION_SPLITS,
    compare_predictions,
    read_predictions,
    write_predictions,
)
from benchmark.record import DroppedScores, RunRecord, need_record
from benchmark.score import score_model
from benchmark.settings import Settings
from musclemap_data.errors import UserError


def check_drop(model_name: str, settings: Settings, modality: str) -> None:
    """Make sure, before anything is trained, that a model can be scored without a modality.

    Raises:
        UserError: only ``transm3e`` with a skeleton stream can, without its skeleton.
    """
    if modality != "skeleton":
        raise UserError(f"--drop is {modality!r}; it must be skeleton")
    if model_name != "transm3e" or settings.variant != "skeleton":
        which = f"{model_name} with variant={settings.variant}"
        raise UserError(
            f"{which if model_name == 'transm3e' else model_name} does not score from a video and "
            "a skeleton, so --drop skeleton says nothing about it; it is for transm3e"
        )


def score_without(
    data_dir: Path,
    run_dir: Path,
    modality: str,
    *,
    device_name: str = "auto",
    progress_bar: bool = False,
) -> RunRecord:
    """Score a finished run's clips again without a modality; once only.

    Args:
        run_dir: a complete run.
        device_name: where to compute, as the setting ``device``.

    Returns:
        The run's record, with ``dropped[modality]``.

    Raises:
        UserError: the run is not complete, its model needs the modality, or its clips are gone.
    """
    run_dir = Path(run_dir)
    record = need_record(run_dir)
    settings = replace(read_identity(run_dir).settings, device=device_name)
    check_drop(record.model, settings, modality)
    if modality in record.dropped:
        return record

    whole = read_predictions(run_dir / "predictions.parquet")
    with join_processes(settings.device) as processes:
        device = choose_device(settings.device, processes)
        prepare_torch(settings, device)
        model = MODELS[record.model](settings)
        load_weights(run_dir / "model.safetensors", model)
        model.to(device)
        testing = ClipDataset(
            data_dir,
            EVALUATION_SPLITS,
            [name for name in record.modalities if name != modality],
            settings,
            train=False,
            assigned={clip.clip_id: clip.split for clip in whole.clips},
        )
        if len(testing.clips) != len(whole.clips):
            raise UserError(
                f"{len(whole.clips) - len(testing.clips)} clips that {run_dir} was scored on are "
                f"not in {data_dir} any more; build them again, or run the benchmark with --fresh"
            )
        predictions, cost, scores = score_model(
            model,
            testing,
            settings,
            {split: each.planned for split, each in record.scores.splits.items()},
            device=device,
            processes=processes,
            progress_bar=progress_bar,
        )
        difference = compare_predictions(predictions, whole)
        entry = DroppedScores(tuple(testing.modalities), cost, scores, difference)
        record = replace(record, dropped={**record.dropped, modality: entry})
        if processes.first:
            write_predictions(run_dir / f"predictions-without-{modality}.parquet", predictions)
            record.write(run_dir)
        processes.wait()
    return record


def with_dropped(runs: Iterable[RunRecord]) -> list[RunRecord]:
    """The runs, each followed by what it scored without a modality: rows of their own in a table.

    Such a row is a run called ``transm3e without skeleton``.
    """
    rows: list[RunRecord] = []
    for run in runs:
        rows.append(run)
        for modality, entry in run.dropped.items():
            ending = f" without {modality}"
            rows.append(
                replace(
                    run,
                    model=run.model + ending,
                    run=run.run + ending,
                    modalities=entry.modalities,
                    cost=entry.cost,
                    scores=entry.scores,
                )
            )
    return rows
