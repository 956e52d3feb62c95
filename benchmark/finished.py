"""The finished runs of a folder: all of them, one by its name, or the one to predict with."""

from __future__ import annotations

from pathlib import Path

from benchmark.record import RunRecord, Scores, read_record
from benchmark.settings import nearest_name
from musclemap_data.errors import UserError


def read_runs(runs_dir: Path) -> list[RunRecord]:
    """The records of all complete runs in a folder, in the order of their names."""
    found = (read_record(path) for path in sorted(Path(runs_dir).glob("*/")))
    return [each for each in found if each is not None]


def trained_runs(runs_dir: Path) -> list[RunRecord]:
    """Of ``read_runs``, those whose model reads the video: chance levels and probes do not."""
    return [each for each in read_runs(runs_dir) if {*each.modalities} - {"features"}]


def find_run(runs_dir: Path, name: str) -> Path:
    """The folder of a finished run, by its name in ``runs_dir`` or as a path.

    Raises:
        UserError: there is none; the nearest name is given.
    """
    for folder in (Path(runs_dir) / name, Path(name)):
        if (folder / "metrics.json").is_file():
            return folder
    known = [path.parent.name for path in sorted(Path(runs_dir).glob("*/metrics.json"))]
    raise UserError(
        f"there is no finished run {name!r} in {runs_dir}{nearest_name(name, known)} "
        f"(all: {', '.join(known) or 'none'})"
    )


def choose_run(data_dir: Path, checkpoint: Path | None = None) -> tuple[Path, str]:
    """The run to predict with or to report on, and why.

    Args:
        data_dir: a data set with finished runs in ``runs/``.
        checkpoint: a run's folder, its name in ``runs/``, or its ``model.safetensors``. If not
            given: of the finished runs whose model reads the video, the one with the highest
            validation mAP (the mean of known and new activities, or of those that there are).

    Raises:
        UserError: there is no such run, it is not finished, or there is none to choose from.
    """
    runs_dir = Path(data_dir) / "runs"
    if checkpoint is not None:
        folder = checkpoint.parent if checkpoint.is_file() else checkpoint
        if (folder / "settings.json").is_file() and not (folder / "metrics.json").is_file():
            raise UserError(
                f"the run {folder} is not finished: run its `musclemap benchmark` command again "
                "until it ends"
            )
        return find_run(runs_dir, str(folder)), "as asked for"
    trained = trained_runs(runs_dir)
    if not trained:
        raise UserError(
            f"there is no trained model in {runs_dir}. Train one: `musclemap quickstart` makes one "
            "of synthetic videos in minutes (then add --data data/quickstart/data); or give a "
            "finished run with --checkpoint"
        )
    if len(trained) == 1:
        return runs_dir / trained[0].run, f"the only trained run in {runs_dir}"
    among = f"of {len(trained)} finished runs in {runs_dir}"
    scores = {record.run: _validation_map(record.scores) for record in trained}
    known = {name: score for name, score in scores.items() if score is not None}
    if not known:
        return runs_dir / max(scores), f"the last by name {among}: none has validation clips"
    best = max(known, key=lambda name: (known[name], name))
    return runs_dir / best, f"the highest validation mAP ({known[best]:.1%}) {among}"


def _validation_map(scores: Scores) -> float | None:
    """The mean of known and new activities, or the one of them that a data set has."""
    parts = (scores.means["val"].map, scores.splits["val_known"].map, scores.splits["val_new"].map)
    return next((each for each in parts if each is not None), None)
