"""Models side by side: a grid of models, seeds and folds; and two runs, pair by pair."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import torch

from benchmark.clips import MissingModality
from benchmark.machine import join_processes
from benchmark.models import MODELS
from benchmark.models.weights import weights_for
from benchmark.predictions import compare_predictions, read_predictions
from benchmark.protocols.dropped import check_drop, score_without, with_dropped
from benchmark.protocols.folds import folds_to_run
from benchmark.protocols.teacher import MODEL, complete_run
from benchmark.record import Difference, RunRecord
from benchmark.report.tables import format_table
from benchmark.run import Run
from benchmark.settings import Settings
from musclemap_data.errors import UserError


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare_models` found. ``str()`` of it is the table.

    Attributes:
        runs: in the order of the models, then the seeds, then the folds.
        skipped: model -> why it was left out.
    """

    runs: Sequence[RunRecord]
    skipped: Mapping[str, MissingModality]

    def __str__(self) -> str:
        return format_table(with_dropped(self.runs))


def default_preset() -> str:
    """``base`` where there is a GPU, else ``tiny``, which a CPU can train in minutes."""
    return "base" if torch.cuda.is_available() else "tiny"


def compare_models(
    data: Path | str,
    models: Sequence[str] | None = None,
    settings: Settings | None = None,
    *,
    seeds: Sequence[int] = (),
    protocol: str = "fixed",
    folds: int = 5,
    subset: Collection[str] | None = None,
    drop: str | None = None,
    runs_dir: Path | None = None,
    fresh: bool = False,
    progress_bar: bool = False,
) -> Comparison:
    """Train and score every model with every seed, on every fold where the protocol has folds.

    A finished run is read, not repeated; one that was stopped goes on from its last checkpoint.

    Args:
        data: a data set with ``dataset.json`` and ``shards/``.
        models: keys of ``benchmark.models.MODELS``. If not given: all whose modalities the data
            set has.
        settings: of every run; :func:`default_preset` if not given. ``pretrain_teacher`` is for
            ``transm3e`` alone.
        seeds: that of the settings if not given.
        protocol: ``fixed``, the data set's own known and new activities; or ``activity-folds`` or
            ``family-folds`` (:mod:`benchmark.protocols.folds`) with ``folds`` folds.
        subset: keep these clip ids of all splits.
        drop: also score ``transm3e`` without this modality (:mod:`benchmark.protocols.dropped`).
        runs_dir: where run folders go; ``data / "runs"`` if not given.
        fresh: forget earlier runs of the same name.

    Raises:
        MissingModality: a model that was asked for by name reads what the data set lacks.
        UserError: as :meth:`benchmark.run.Run.complete`; or options that do not fit together.
    """
    data = Path(data)
    names = list(MODELS if models is None else models)
    settings = settings or Settings.from_preset(default_preset())
    experiments = folds_to_run(protocol, folds, data)
    if drop:
        if MODEL not in names or protocol != "fixed":
            raise UserError(f"--drop is for --model {MODEL} and --protocol fixed")
        check_drop(MODEL, settings, drop)
    runs: list[RunRecord] = []
    skipped: dict[str, MissingModality] = {}
    with join_processes(settings.device):  # once: a second time can fail
        for name in names:
            own = replace(settings, pretrained=weights_for(settings.pretrained, name, MODELS))
            if name != MODEL:  # others have no second stream
                own = replace(own, pretrain_teacher=False)
            for seed, fold in product(seeds or [settings.seed], experiments):
                run = Run(data, name, replace(own, seed=seed), subset, fold, runs_dir=runs_dir)
                try:
                    record = complete_run(run, fresh=fresh, progress_bar=progress_bar)
                except MissingModality as error:
                    if models is not None:
                        raise
                    skipped[name] = error
                    break
                if drop and name == MODEL:
                    record = score_without(
                        data,
                        run.folder,
                        drop,
                        device_name=settings.device,
                        progress_bar=progress_bar,
                    )
                runs.append(record)
    return Comparison(runs, skipped)


def compare_runs(first: Path, second: Path) -> dict[str, Difference]:
    """Is the first run better? ``predictions.compare_predictions`` of two run folders."""
    return compare_predictions(
        *(read_predictions(Path(each) / "predictions.parquet") for each in (first, second))
    )
