"""What a finished run knows: ``metrics.json`` as frozen dataclasses.

This is the only file that knows what that file looks like (of ``settings.json``,
:mod:`benchmark.identity` is). Scores are shares from 0 to 1, not percent; None stands for what is
undefined, such as the mAP of a split without clips.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from benchmark.chance import ChanceLevel
from benchmark.clips import Clip
from benchmark.nearness import NearnessScores
from benchmark.settings import SettingValue
from musclemap_data.errors import UserError
from musclemap_data.files import write_text

VERSION = 2
"""Of ``metrics.json``. A file of another version is refused."""

DEFAULT_THRESHOLD = 0.5
"""Where a run has no threshold of its own, for want of validation clips."""

Interval = tuple[float, float]
"""The ends of a 95% interval."""


@dataclass(frozen=True)
class ActivityScores:
    """The clips of one activity in a split, and how well their regions rank."""

    clips: int
    label_ranking_ap: float | None


@dataclass(frozen=True)
class Measured:
    """One more number of a split, from 0 to 1, with what a scorer that knows nothing gets."""

    value: float | None
    chance: ChanceLevel | None

    @property
    def excess(self) -> float | None:
        """The value above its chance level."""
        return excess(self.value, self.chance)


@dataclass(frozen=True)
class SplitScores:
    """The metrics of one split (:mod:`benchmark.metrics` defines them).

    Attributes:
        planned: clips that the manifest lists for the split; None where that is not known.
        coverage: ``clips / planned``.
        left_out: what the intervals leave out in turn: ``videos`` or ``activities``.
        regions: how many regions have a positive clip, and so an average precision.
        trivial_regions: how many are active in every clip.
        skeletons: share of the clips that were scored with a skeleton, the others by the path
            without one; None where the model reads no skeletons.
        constant_map: the mAP of a constant score.
        chance: what a scorer that knows nothing gets (:mod:`benchmark.chance`); None where clips
            of one activity have different labels.
        per_region_ap: slug of a region -> its average precision.
        per_region_chance: slug of a region -> its chance level.
        per_activity: slug of an activity -> its scores.
        per_distance: of new activities: regions in which the label set differs from the nearest
            one of training -> the scores of those clips (:mod:`benchmark.nearness`).
        graded: scores that know more of the labels than active or not, by the names of
            :data:`benchmark.reference.GRADED`; empty where the clips have no grades.
    """

    clips: int
    planned: int | None
    coverage: float | None
    videos: int
    activities: int
    skeletons: float | None
    left_out: str
    regions: int
    trivial_regions: int
    map: float | None
    map_interval: Interval | None
    constant_map: float | None
    chance: ChanceLevel | None
    f1_micro: float | None
    f1_macro: float | None
    label_ranking_ap: float | None
    calibration_error: float | None
    per_region_ap: Mapping[str, float | None]
    per_region_chance: Mapping[str, ChanceLevel | None]
    per_activity: Mapping[str, ActivityScores]
    per_distance: Mapping[str, NearnessScores] = field(default_factory=dict)
    graded: Mapping[str, Measured] = field(default_factory=dict)

    @property
    def twins(self) -> int | None:
        """New activities whose label set a training activity has, too; None where unknown."""
        if not self.per_distance:
            return None
        return self.per_distance["0"].activities if "0" in self.per_distance else 0

    @property
    def groups(self) -> int:
        """How many videos or activities the intervals rest on."""
        return self.activities if self.left_out == "activities" else self.videos

    @property
    def excess(self) -> float | None:
        """The mAP above its chance level."""
        return excess(self.map, self.chance)


def excess(mean_ap: float | None, chance: ChanceLevel | None) -> float | None:
    """A score above its chance level; None where either is undefined."""
    return None if mean_ap is None or chance is None else mean_ap - chance.mean


@dataclass(frozen=True)
class MeanScores:
    """The mean of a split of known activities and one of new ones."""

    map: float | None
    map_interval: Interval | None
    constant_map: float | None
    chance: ChanceLevel | None
    graded: Mapping[str, Measured] = field(default_factory=dict)

    @property
    def excess(self) -> float | None:
        """The mAP above its chance level."""
        return excess(self.map, self.chance)


@dataclass(frozen=True)
class Scores:
    """All scores of a model.

    Attributes:
        splits: ``val_known``, ``val_new``, ``test_known``, ``test_new``.
        means: ``val`` and ``test``.
        threshold: from this probability on a region counts as active in F1; chosen on the
            validation clips.
        references: name of an opinion on the labels (:data:`benchmark.reference.OPINIONS`) ->
            split or mean -> ``map`` and the names of ``graded`` -> what it scores on these clips.
    """

    splits: Mapping[str, SplitScores]
    means: Mapping[str, MeanScores]
    threshold: float | None
    references: Mapping[str, Mapping[str, Mapping[str, Measured]]] = field(default_factory=dict)

    def of(self, part: str) -> SplitScores | MeanScores:
        """The scores of a split, or of the mean ``val`` or ``test``."""
        return self.means[part] if part in self.means else self.splits[part]


@dataclass(frozen=True)
class Cost:
    """What scoring took. None where there was no clip to count on.

    Attributes:
        latency_ms: of the model on one view alone in a batch, on the run's machine: the median of a
            few passes; None in runs that did not measure it.
    """

    multiply_adds_per_view: int | None
    seconds: float
    clips_per_s: float
    latency_ms: float | None = None


@dataclass(frozen=True)
class Difference:
    """A paired difference in mAP: is the first of two better on the same clips?

    Attributes:
        difference: first - second.
        interval: its 95% interval.
        p: one-sided p value that the first is better by chance alone.
    """

    difference: float | None
    interval: Interval | None
    p: float | None


@dataclass(frozen=True)
class DroppedScores:
    """What a run scores when one of its modalities is missing.

    Attributes:
        modalities: those that were left.
        difference: split or mean -> without - with.
    """

    modalities: tuple[str, ...]
    cost: Cost
    scores: Scores
    difference: Mapping[str, Difference]


@dataclass(frozen=True)
class DataRecord:
    """Which clips a run saw.

    Attributes:
        name: of the data set.
        fingerprint: of the clips (:func:`clips_fingerprint`).
        subset: whether only clips of a list were used.
        all_clips: in a fold, the fingerprint of the clips before they were dealt out.
        fold, folds: which fold, from 1, of how many; None without folds.
        protocol: how the activities were dealt to the folds; None without folds.
        bad_skeletons: clips left out for ``Settings.min_skeleton_quality``; None where every
            quality was taken.
    """

    name: str
    fingerprint: str
    subset: bool
    all_clips: str | None = None
    fold: int | None = None
    folds: int | None = None
    protocol: str | None = None
    bad_skeletons: int | None = None

    @property
    def clips_id(self) -> str:
        """Tells which clips a run is about; the same for all folds of them."""
        return self.all_clips or self.fingerprint

    def to_dict(self) -> dict[str, str | int]:
        """Its JSON: without what a run has not."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def clips_fingerprint(clips: Sequence[Clip]) -> str:
    """A hash of which clips there are, in which splits and order, with which labels and lengths."""
    digest = hashlib.sha256()
    for clip in clips:
        labels = "".join("01"[active] for active in clip.muscles)
        digest.update(f"{clip.split} {clip.clip_id} {clip.frames} {labels}\n".encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class TrainingRecord:
    """What training took, since it was last started.

    Attributes:
        steps: optimiser steps, of this call.
        wait_share: of the time, spent waiting for data.
    """

    steps: float
    seconds: float
    wait_share: float
    clips_per_s: float
    final_loss: float


@dataclass(frozen=True)
class MachineRecord:
    """Where a run was made."""

    device: str
    processes: int
    python: str
    torch: str


@dataclass(frozen=True)
class RunRecord:
    """A finished run: what ``metrics.json`` holds.

    Attributes:
        run: its name, and that of its folder.
        changes: the settings that differ from the preset.
        modalities: what the model reads, of ``rgb``, ``rgb_diff``, ``flow`` and ``skeleton``.
        teacher: SHA-256 of the weights that its second stream started from.
        train_clips: clips of the training split.
        parameters, trained_parameters: how many numbers the model has, and how many it learns.
        training: None where nothing was trained step by step.
        dropped: modality -> the scores without it (:mod:`benchmark.protocols.dropped`).
        start: the file of weights that training started from, with the first digits of its SHA-256;
            None where it started from random weights.
    """

    run: str
    model: str
    preset: str
    seed: int
    changes: Mapping[str, SettingValue]
    modalities: tuple[str, ...]
    data: DataRecord
    teacher: str | None
    train_clips: int
    parameters: int
    trained_parameters: int
    training: TrainingRecord | None
    machine: MachineRecord
    cost: Cost
    scores: Scores
    dropped: Mapping[str, DroppedScores] = field(default_factory=dict)
    start: str | None = None

    @property
    def threshold(self) -> float:
        """Probabilities from here on mean active: best F1 on validation, or 50% without clips."""
        return DEFAULT_THRESHOLD if self.scores.threshold is None else self.scores.threshold

    def to_dict(self) -> dict[str, object]:
        """The content of ``metrics.json``."""
        values = _flat({"version": VERSION, **asdict(self)})
        values["data"] = self.data.to_dict()
        values["training"] = values["training"] or {}
        del values["dropped"]
        if self.start is None:
            del values["start"]
        if self.dropped:
            values["dropped"] = {name: _flat(asdict(each)) for name, each in self.dropped.items()}
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunRecord:
        """From the content of a ``metrics.json`` of version ``VERSION``.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: something is missing, unknown or of
                the wrong kind.
        """
        parts = {name: each for name, each in _nested(values).items() if name != "version"}
        parts["training"] = parts["training"] or None
        dropped = parts.get("dropped", {})
        parts["dropped"] = {modality: _nested(each) for modality, each in dropped.items()}
        record: RunRecord = _from_json(cls, parts)
        return record

    def write(self, run_dir: Path) -> None:
        """Write ``metrics.json`` into the run's folder (atomically)."""
        write_text(Path(run_dir) / "metrics.json", json.dumps(self.to_dict(), indent=2) + "\n")


def _flat(values: Mapping[str, Any]) -> dict[str, object]:
    """The values of a record as the file has them: cost and scores side by side with the rest."""
    flat: dict[str, object] = {}
    for name, value in values.items():
        if name == "cost":
            flat["multiply_adds_per_view"] = value.pop("multiply_adds_per_view")
            flat["scoring"] = value
        else:
            flat |= value if name == "scores" else {name: value}
    return flat


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """The way back from :func:`_flat`."""
    rest = dict(values)
    adds, speed = rest.pop("multiply_adds_per_view"), rest.pop("scoring")
    scores = {name: rest.pop(name) for name in ("splits", "means", "threshold")}
    scores["references"] = rest.pop("references", {})  # older files have none
    return {**rest, "cost": {"multiply_adds_per_view": adds, **speed}, "scores": scores}


_field_types = cache(get_type_hints)


def _from_json(kind: Any, value: Any) -> Any:
    """A value of a type (plain, dataclass, tuple, mapping, or None beside one) from its JSON."""
    parts = get_args(kind)
    if isinstance(kind, UnionType):
        return value if type(value) in parts else _from_json(parts[0], value)
    if is_dataclass(kind):
        make: Any = kind
        kinds = _field_types(make)
        return make(**{name: _from_json(kinds[name], each) for name, each in value.items()})
    if get_origin(kind) is tuple:
        if parts[-1] is Ellipsis:
            parts = parts[:1] * len(value)
        return tuple(_from_json(*pair) for pair in zip(parts, value, strict=True))
    if get_origin(kind) is Mapping:
        return {name: _from_json(parts[1], each) for name, each in value.items()}
    if type(value) is kind or (kind is float and type(value) is int):
        return value
    raise TypeError(f"{value!r} is not of type {kind.__name__}")


def read_record(run_dir: Path) -> RunRecord | None:
    """The record of a complete run, or None where there is none.

    Raises:
        UserError: the file is damaged or of another version.
    """
    path = Path(run_dir) / "metrics.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if not isinstance(values, dict) or values.get("version") != VERSION:
        raise UserError(
            f"{path} is not of version {VERSION}: another MuscleMap wrote it, whose scores mean "
            "something else. Run the benchmark again with --fresh, or move the run's folder away"
        )
    try:
        return RunRecord.from_dict(values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path} cannot be read: it is damaged ({type(error).__name__}: {error}). Choose "
            "another run, or run the benchmark again with --fresh"
        ) from error


def need_record(run_dir: Path) -> RunRecord:
    """:func:`read_record` of a run that has to be complete.

    Raises:
        UserError: it is not, or its file is damaged or of another version.
    """
    record = read_record(run_dir)
    if record is None:
        raise UserError(f"{run_dir} is no complete run: run `musclemap benchmark` to its end first")
    return record
