"""``python -m benchmark.embedded.evaluate CLIPS...``: the embedded model on clips of real people.

A folder of clips has a ``clips.csv`` with the columns ``file`` and ``activity``. Clips of
activities that the model was trained on and of others are scored apart.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmark.cells import interval, p_value, percent
from benchmark.chance import ChanceLevel, chance_level, permuted_average_precision
from benchmark.embedded.model import WEIGHTS, EmbeddedModel
from benchmark.metrics import SHARE, leave_groups_out, mean_over_regions, spread
from musclemap_data.catalog import activity_names, load_activities, normalise_name
from musclemap_data.errors import UserError
from musclemap_data.extract.person import follow
from musclemap_data.extract.windows import read_video
from musclemap_data.files import file_sha256, replacing


@dataclass(frozen=True)
class KnownClip:
    """A clip whose activity is known: its slug, or the name as given where the table lacks it."""

    path: Path
    activity: str


@dataclass(frozen=True)
class Judged:
    """What the model said of clips.

    Attributes:
        clips: in the order of the rows.
        activities: of the columns of ``probabilities``.
        probabilities: ``[N, A]``, the mean over a clip's windows.
        regions: ``[N, 20]``, the same of the regions.
    """

    clips: tuple[KnownClip, ...]
    activities: tuple[str, ...]
    probabilities: npt.NDArray[np.float64]
    regions: npt.NDArray[np.float64]

    def __getitem__(self, rows: npt.NDArray[np.bool_]) -> Judged:
        clips = tuple(clip for clip, kept in zip(self.clips, rows, strict=True) if kept)
        return Judged(clips, self.activities, self.probabilities[rows], self.regions[rows])

    def score(self) -> Score:
        """Of the regions."""
        return Score.of(self.regions, [clip.activity for clip in self.clips])

    def places(self) -> npt.NDArray[np.intp]:
        """Of each clip [clips], how many activities are ahead of the right one."""
        own = np.array([self.activities.index(clip.activity) for clip in self.clips])
        right = self.probabilities[np.arange(len(own)), own]
        return np.asarray((self.probabilities > right[:, None]).sum(axis=1))


@dataclass(frozen=True)
class Score:
    """An mAP over regions with what belongs beside it."""

    clips: int
    activities: int
    map: float
    interval: tuple[float, float] | None
    chance: ChanceLevel | None

    @classmethod
    def of(cls, regions: npt.NDArray[np.float64], names: Sequence[str]) -> Score:
        """Of what was said of regions ``[N, 20]`` of clips of these activities."""
        labels = region_labels(names)
        permuted = mean_over_regions(permuted_average_precision(regions, labels, names))
        left_out = leave_groups_out(regions, labels, np.array(names, dtype=object))
        value = float(permuted[0])
        ends = spread(value, left_out).interval(within=SHARE)
        return cls(len(names), len(set(names)), value, ends, chance_level(permuted))

    def __str__(self) -> str:
        chance = self.chance
        beside = (
            f"chance {percent(chance.mean)}, its 95th percentile {percent(chance.high)}, "
            f"p {p_value(chance.p)}"
            if chance
            else "no chance level"
        )
        return (
            f"{self.clips} clips of {self.activities} activities: mAP {percent(self.map)} "
            f"{interval(self.interval)} ({beside})"
        )


def region_labels(activities: Sequence[str]) -> npt.NDArray[np.bool_]:
    """``[N, 20]``: the regions that each of these activities works."""
    table = load_activities()
    return np.array([table[name].muscles for name in activities], dtype=bool)


def read_clips(folders: Sequence[Path]) -> list[KnownClip]:
    """The clips of folders with a ``clips.csv``.

    Raises:
        UserError: there is no such file, or a column is missing.
    """
    names = activity_names(load_activities())
    clips = []
    for folder in folders:
        try:
            with (folder / "clips.csv").open(newline="", encoding="utf-8") as file:
                rows = [(row["file"], row["activity"]) for row in csv.DictReader(file)]
        except (OSError, KeyError) as error:
            raise UserError(
                f"{folder} needs a clips.csv with the columns file and activity ({error!r})"
            ) from error
        clips += [
            KnownClip(folder / name, names.get(normalise_name(activity), activity))
            for name, activity in rows
        ]
    return clips


def kept_skeleton(clip: Path, cache: Path) -> Path:
    """Where :func:`skeleton_of` keeps the skeleton of a clip."""
    return cache / f"{file_sha256(clip)[:16]}.npz"


def skeleton_of(
    clip: Path, cache: Path | None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """The skeleton ``[T, 17, 3]`` of a video and its times; kept in a folder if one is given.

    Raises:
        UserError: the video cannot be read, or hardly any frame shows a person.
    """
    kept = kept_skeleton(clip, cache) if cache else None
    if kept and kept.is_file():
        with np.load(kept) as found:
            return found["skeleton"], found["times_s"]
    with tempfile.TemporaryDirectory() as work:
        followed = follow(read_video(clip), Path(work), workers=1)
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with replacing(kept) as temporary:
            np.savez_compressed(temporary, skeleton=followed.skeleton, times_s=followed.times_s)
    return followed.skeleton, followed.times_s


def judge(
    model: EmbeddedModel, clips: Sequence[KnownClip], cache: Path | None = None
) -> tuple[Judged, list[str]]:
    """Ask the model about clips; those that cannot be used come back as messages.

    Raises:
        UserError: not one of them can be used.
    """
    kept, probabilities, regions, refused = [], [], [], []
    for clip in clips:
        try:
            said = model.recognise(*skeleton_of(clip.path, cache))
        except UserError as error:
            refused.append(str(error))
            continue
        kept.append(clip)
        probabilities.append(said.overall)
        regions.append(said.regions()[said.counted].mean(axis=0))
    if not kept:
        raise UserError("none of the clips can be used:\n  " + "\n  ".join(refused))
    return Judged(
        tuple(kept), model.activities, np.array(probabilities), np.array(regions)
    ), refused


def report(judged: Judged) -> Iterator[str]:
    """Lines about clips of activities that the model was trained on, and of others."""
    table = load_activities()
    labelled = judged[np.array([clip.activity in table for clip in judged.clips])]
    trained = np.array([clip.activity in judged.activities for clip in labelled.clips], bool)
    if trained.any():
        known = labelled[trained]
        yield f"trained on:     {known.score()}"
        places = known.places()
        yield (
            f"                first place {percent(float((places < 1).mean()))}, within three "
            f"{percent(float((places < 3).mean()))} of {len(judged.activities)} activities"
        )
    if not trained.all():
        yield f"not trained on: {labelled[~trained].score()}"
    if without := len(judged.clips) - len(labelled.clips):
        yield f"without labels: {without} clips, not scored"


def main() -> None:
    """Read the arguments, judge the clips, print the scores."""
    parser = argparse.ArgumentParser(description="Score the embedded model on clips.")
    parser.add_argument("clips", nargs="+", type=Path, help="folders with a clips.csv")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--skeletons", type=Path, help="folder to keep skeletons in")
    parser.add_argument("--list", action="store_true", help="a line for each clip too")
    chosen = parser.parse_args()
    model = EmbeddedModel.load(chosen.weights)
    judged, refused = judge(model, read_clips(chosen.clips), chosen.skeletons)
    if chosen.list:
        for clip, row in zip(judged.clips, judged.probabilities, strict=True):
            best = np.argsort(-row, kind="stable")[:3]
            said = ", ".join(f"{judged.activities[a]} {row[a]:.0%}" for a in best)
            print(f"{clip.path.name} ({clip.activity}): {said}")
    for line in refused:
        print(f"left out: {line}")
    for line in report(judged):
        print(line)


if __name__ == "__main__":
    main()
