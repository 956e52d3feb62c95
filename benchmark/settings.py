"""Every knob of a benchmark run, in one frozen dataclass, and the presets.

A run saves its settings as JSON beside its metrics. ``--set field=value`` on the command line goes
through :meth:`Settings.with_overrides`.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from musclemap_data.errors import UserError

SettingValue = str | int | float | bool | None
"""What a setting may be, in Python and in JSON."""


def _documented(default: Any, text: str) -> Any:
    """A dataclass field that carries its documentation: what it is, its unit, its source."""
    return field(default=default, metadata={"doc": text})


def _check_modality(name: str) -> None:
    if name == "rgb":
        return  # without the import below, the command line starts faster
    from musclemap_data.modalities import MODALITIES, pictures

    readable = [each.name for each in MODALITIES.values() if each.key in pictures()]
    if name not in readable:
        raise UserError(f"setting modality is {name!r}; it must be one of {', '.join(readable)}")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one run. The defaults are the paper's (preset ``base``).

    "paper" below is arXiv 2303.00952; "config" is ``transmmme_s.yaml`` in its authors' public
    repository, "early code" what the code beside it does with that file; "MViTv2" is arXiv
    2112.01526; "ST-GCN" is arXiv 1801.07455. ``describe_settings()`` prints this list.

    Raises:
        UserError: a value is out of its range; the message gives the value and the range.
    """

    preset: str = _documented("base", "the preset these settings started from (a label only)")
    seed: int = _documented(0, "seed of the weights, the clip order, the views and the dropout")

    # What a model sees.
    frames: int = _documented(16, "frames in a view, T (config)")
    rate: int = _documented(4, "stored frames from one sampled frame to the next (config: 4)")
    crop_size: int = _documented(224, "height and width of a model's input, px (config)")
    jitter_min: int = _documented(
        256, "smallest short side before the random crop, px (config; unused in the early code)"
    )
    jitter_max: int = _documented(
        320, "largest short side before the random crop, px (config; unused in the early code)"
    )
    test_short_side: int = _documented(
        256, "short side before the centre crop in testing, px (MViTv2)"
    )
    test_views: int = _documented(5, "temporal views a clip in testing, one crop each (config)")
    modality: str = _documented(
        "rgb", "what a one-stream video model reads: a modality of pictures, such as rgb-diff, flow"
    )
    people: int = _documented(1, "skeletons a clip, M: the first M of the shard (data set: 1)")
    min_joint_score: float = _documented(
        0.3, "a joint scored lower is masked to x = y = score = 0 (usual for COCO-17 poses)"
    )
    min_skeleton_quality: float = _documented(
        0.0, "clips whose skeleton is of a lower quality are neither trained nor scored on (ours)"
    )

    # Augmentation, in training only.
    crop_policy: Literal["jitter", "resized"] = _documented(
        "jitter",
        "jitter: short side in jitter_min..max; resized: random area and aspect (early code)",
    )
    resized_area_min: float = _documented(
        0.4, "smallest share of the frame's area, crop_policy=resized (config, MViTv2: 0.08)"
    )
    flip: float = _documented(0.5, "probability of a horizontal flip (MViTv2)")
    randaugment_ops: int = _documented(
        4, "RandAugment operations a clip, n; 0 = off (config: n4; the early code never applies it)"
    )
    randaugment_magnitude: float = _documented(
        7.0, "RandAugment magnitude, m, of 10; spread 0.5 (config: m7, mstd 0.5)"
    )
    erasing: float = _documented(
        0.25, "probability of random erasing (config; the early code never applies it)"
    )
    augment_on: Literal["workers", "device"] = _documented(
        "workers", "where RandAugment and erasing are done; device: by the GPU that trains"
    )
    early_views: bool = _documented(
        False,
        "two crops of a clip's frames a batch: the first with the second's RGB difference, the "
        "second with a blank one (early code)",
    )
    normalise: bool = _documented(
        True, "pictures less the mean, over the spread; without, 0 to 1 (early code)"
    )

    # The model.
    model_width: int = _documented(96, "embedding width of the first MViT stage (MViTv2-S)")
    model_depth: int = _documented(16, "number of MViT blocks (MViTv2-S)")
    dropout: float = _documented(0.5, "dropout before the classification head (config)")
    drop_path: float = _documented(0.2, "stochastic depth of the last block (config)")
    joint_channels: int = _documented(64, "channels of the first graph block (ST-GCN)")
    variant: Literal["skeleton", "rgb-diff"] = _documented(
        "skeleton", "TransM3E's second stream: skeleton (final paper) or rgb-diff (early code)"
    )
    distillation: Literal["dense", "sparse", "none"] = _documented(
        "dense", "MCTKD after every block, after the last one, or never (paper: dense)"
    )
    fusion: bool = _documented(True, "MCTF: fuse the streams' tokens (paper)")
    multi_token: bool = _documented(
        True, "MCT: 20 tokens of each kind (paper); without, one class token and one receiver"
    )
    region_heads: bool = _documented(
        False, "TransM3E: token i also speaks for region i, beside the head on the mean (ours)"
    )
    sender: Literal["second", "video"] = _documented(
        "second", "the stream that MCTKD takes knowledge from (paper: the second)"
    )
    gradient_to_sender: bool = _documented(False, "let MCTKD also move the sender (paper: silent)")
    skeleton_drop: float = _documented(
        0.25, "share of training clips that are fused without the skeleton, as scoring without one"
    )
    posture_features: bool = _documented(
        True, "posture: directions, angles, levers, heights of the body, not places alone"
    )
    posterior_mix: float = _documented(
        0.7, "posture: share of the softened posterior over activities; the rest: region tokens"
    )
    posterior_temperature: float = _documented(
        0.3, "posture: T of the posterior over activities; small = the most alike decides"
    )
    region_focus: float = _documented(
        0.7, "posture: how much a region looks at its own joints; 0 = at all alike, 1 = only"
    )
    balance_activities: bool = _documented(
        True, "posture: every activity counts the same, however many clips it has"
    )
    skeleton_noise: float = _documented(
        0.0, "posture: strength of turns, speeds, noise, lost and swapped joints in training, 0..1"
    )
    freeze_teacher: bool | None = _documented(
        None, "the second stream does not learn; none = only in variant rgb-diff (early code)"
    )
    pretrain_teacher: bool = _documented(
        False, "train TransM3E's second stream alone first, in a run of its own, and start from it"
    )
    teacher_weights: str | None = _documented(
        None, "path of the second stream's weights to start from, or none"
    )
    temperature: float = _documented(10.0, "MCTKD temperature (paper)")
    distillation_weight: float = _documented(0.9, "MCTKD weight, times temperature^2 (paper)")
    activity_temperature: float = _documented(
        10.0, "activity-soft: softens the posterior of the activities (1 is the discriminant's own)"
    )
    features: str | None = _documented(
        None, "probe, zero-shot: path of the features that `musclemap features` wrote"
    )
    texts: str | None = _documented(
        None, "zero-shot: path of a CSV file of embeddings, a name and its numbers a line"
    )
    probe: Literal["linear", "attentive"] = _documented(
        "linear", "probe: a linear head on the mean of a clip's views, or on what it attends to"
    )
    pretrained: str | None = _documented(
        None, "path of a weights file to start from, or MODEL=PATH,MODEL=PATH, or none"
    )

    # Training.
    loss: Literal["bce", "asymmetric"] = _documented(
        "bce", "binary cross entropy (the paper's figure) or asymmetric (arXiv 2009.14119)"
    )
    target: Literal["labels", "grades"] = _documented(
        "labels", "what is learned: labels, 0 or 1, or grades as soft targets (with loss=bce)"
    )
    epochs: int = _documented(10, "passes over the training split (config)")
    batch_size: int = _documented(
        16, "clips an optimiser step, over all processes and accumulation steps (config)"
    )
    accumulate: int = _documented(1, "parts a batch is computed in, to save memory")
    learning_rate: float = _documented(1e-4, "peak learning rate of AdamW (config)")
    min_learning_rate: float = _documented(1e-6, "learning rate at the end of the cosine (config)")
    warmup_epochs: float = _documented(
        1.0, "linear warm-up, epochs; at most a fifth of the schedule (config: 30 of 10, a mistake)"
    )
    weight_decay: float = _documented(0.05, "AdamW's, none on 1-D parameters (config)")
    clip_norm: float = _documented(1.0, "largest norm of the gradient; 0 = no clipping (config)")
    ema: float = _documented(
        0.0,
        "decay a step of an average of the weights, which is then scored; 0 = off (config)",
    )
    validate_every: int = _documented(
        1, "epochs between validations while training, one view a clip; 0 = none"
    )
    checkpoint_every_steps: int = _documented(
        0, "optimiser steps between checkpoints; 0 = after each epoch only"
    )

    # The machine. Apart from precision none of these is meant to change a result.
    device: str = _documented("auto", "auto, cpu, cuda or cuda:N; auto takes a GPU if there is one")
    precision: Literal["fp32", "bf16", "fp16"] = _documented(
        "fp32", "fp32, bf16 or fp16 (autocast; fp16 needs a GPU)"
    )
    workers: int = _documented(2, "loader processes beside each training process; 0 = none")
    threads: int = _documented(0, "CPU threads of a training process; 0 = PyTorch's choice")
    deterministic: bool = _documented(
        False, "refuse GPU operations that do not repeat bit for bit (slower)"
    )
    compile: bool = _documented(False, "torch.compile the model")
    checkpointing: bool = _documented(
        False, "MViTv2, TransM3E: compute video blocks twice a step, which saves memory"
    )

    def __post_init__(self) -> None:
        for name, lowest in _LOWEST.items():
            value = getattr(self, name)
            if value < lowest:
                raise UserError(f"setting {name} is {value}; it must be at least {lowest}")
        for name in _SHARES:
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise UserError(f"setting {name} is {value}; it must be within 0 and 1")
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise UserError(
                    f"setting {name} is {getattr(self, name)!r}; it must be one of "
                    f"{', '.join(allowed)}"
                )
        _check_modality(self.modality)
        for smaller, larger in _ORDERED:
            if getattr(self, smaller) > getattr(self, larger):
                raise UserError(
                    f"setting {smaller} is {getattr(self, smaller)}, above {larger} "
                    f"({getattr(self, larger)})"
                )
        if self.pretrain_teacher and self.teacher_weights is not None:
            raise UserError("settings pretrain_teacher and teacher_weights exclude each other")
        if self.target == "grades" and self.loss != "bce":
            raise UserError(f"setting target=grades needs loss=bce, not {self.loss}")
        if self.batch_size % self.accumulate:
            raise UserError(
                f"setting batch_size is {self.batch_size}, not a multiple of accumulate "
                f"({self.accumulate})"
            )

    @classmethod
    def from_preset(cls, name: str, **overrides: Any) -> Settings:
        """A preset of ``presets.toml``, with single fields changed.

        Raises:
            UserError: there is no such preset or field, or a value is out of its range.
        """
        if name not in PRESETS:
            raise UserError(
                f"there is no preset {name!r}; the presets are {', '.join(PRESETS)}"
                + nearest_name(name, PRESETS)
            )
        _check_names(overrides)
        return replace(PRESETS[name], **overrides)

    def with_overrides(self, assignments: Sequence[str]) -> Settings:
        """Apply ``field=value`` texts, parsed by the field's type.

        ``none`` stands for no value where a field may have none; booleans are true/false,
        yes/no, on/off or 1/0. ``preset=NAME`` starts from that preset, wherever it stands.

        Raises:
            UserError: no ``=``, an unknown field (the nearest is named), or a bad value.
        """
        start = self
        changes: dict[str, Any] = {}
        for assignment in assignments:
            name, separator, text = assignment.partition("=")
            name = name.strip().replace("-", "_")
            if not separator:
                raise UserError(f"{assignment!r} is not of the form field=value")
            _check_names([name])
            if name == "preset":
                start = Settings.from_preset(text.strip())
            else:
                changes[name] = _parse(name, text.strip())
        return replace(start, **changes)

    def changes(self) -> dict[str, SettingValue]:
        """Fields that differ from the preset; without the seed and what names only the machine."""
        usual = PRESETS.get(self.preset, PRESETS["base"]).to_dict()
        return {
            name: value
            for name, value in self.to_dict().items()
            if value != usual[name] and name != "seed" and name not in MACHINE_SETTINGS
        }

    def to_dict(self) -> dict[str, SettingValue]:
        """All fields as JSON values."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """Readable JSON that :meth:`from_json` takes back without loss."""
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """From :meth:`to_dict`'s mapping; unknown names and wrong types are a ``UserError``."""
        _check_names(values)
        return cls(**{name: _checked(name, value) for name, value in values.items()})

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """From :meth:`to_json`'s text.

        Raises:
            UserError: it is no JSON object of settings.
        """
        values = json.loads(text)
        if not isinstance(values, dict):
            raise UserError(f"settings must be a JSON object, not {type(values).__name__}")
        return cls.from_dict(values)


MACHINE_SETTINGS = (
    "device", "workers", "threads", "compile", "checkpointing", "checkpoint_every_steps",
    "validate_every",
)  # fmt: skip
"""Settings that may change between a run and its resumption."""

_LOWEST: dict[str, float] = {
    "seed": 0, "frames": 1, "rate": 1, "crop_size": 16, "test_views": 1, "people": 1,
    "randaugment_ops": 0, "randaugment_magnitude": 0,
    "model_width": 1, "model_depth": 1, "joint_channels": 1,
    "temperature": 1e-6, "activity_temperature": 1e-6, "posterior_temperature": 1e-6,
    "distillation_weight": 0,
    "epochs": 0, "batch_size": 1, "accumulate": 1, "min_learning_rate": 0, "warmup_epochs": 0,
    "weight_decay": 0, "clip_norm": 0, "validate_every": 0, "checkpoint_every_steps": 0,
    "workers": 0, "threads": 0,
}  # fmt: skip
_SHARES = (
    "min_joint_score", "min_skeleton_quality", "resized_area_min", "flip", "erasing", "dropout",
    "drop_path", "ema", "posterior_mix", "region_focus", "skeleton_noise",
)  # fmt: skip
_ORDERED = (
    ("crop_size", "jitter_min"),
    ("jitter_min", "jitter_max"),
    ("crop_size", "test_short_side"),
    ("min_learning_rate", "learning_rate"),
)
_TYPES = typing.get_type_hints(Settings)
_CHOICES: dict[str, tuple[str, ...]] = {
    name: typing.get_args(kind)
    for name, kind in _TYPES.items()
    if typing.get_origin(kind) is Literal
}

_PRESETS = tomllib.loads(Path(__file__).with_name("presets.toml").read_text(encoding="utf-8"))
PRESETS = {name: Settings(preset=name, **values) for name, values in _PRESETS.items()}


def describe_settings(preset: str = "base") -> str:
    """One line a field: name, value in the preset, meaning."""
    chosen = Settings.from_preset(preset)
    return "\n".join(
        f"{each.name} = {_show(getattr(chosen, each.name))}: {each.metadata['doc']}"
        for each in dataclasses.fields(Settings)
    )


def _show(value: Any) -> str:
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def nearest_name(name: str, known: typing.Iterable[str]) -> str:
    """``"; did you mean X?"`` for an error message, or nothing where no name is near."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    return f"; did you mean {close[0]}?" if close else ""


def _check_names(names: typing.Iterable[str]) -> None:
    for name in names:
        if name not in _TYPES:
            raise UserError(
                f"there is no setting {name!r}{nearest_name(name, _TYPES)} "
                f"(all: {', '.join(_TYPES)})"
            )


def _type_name(name: str) -> str:
    if name in _CHOICES:
        return f"one of {', '.join(_CHOICES[name])}"
    words = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text"}
    return " or ".join(words.get(kind, "none") for kind in _alternatives(_TYPES[name]))


_BOOLEANS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)


def _parse(name: str, text: str) -> Any:
    """The value of a field from text."""
    kinds = _alternatives(_TYPES[name])
    if type(None) in kinds and text.lower() in ("none", ""):
        return None
    kind = kinds[0]
    if kind is bool:
        if text.lower() not in _BOOLEANS:
            raise UserError(f"setting {name} is {text!r}; it must be true or false")
        return _BOOLEANS[text.lower()]
    if kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            wanted = "a whole number" if kind is int else "a number"
            raise UserError(f"setting {name} is {text!r}; it must be {wanted}") from None
        return _checked(name, value)
    return text  # a string, or a choice that __post_init__ checks


def _checked(name: str, value: Any) -> Any:
    """A value from JSON, or a ``UserError`` where its type is wrong."""
    for kind in _alternatives(_TYPES[name]):
        plain = str if typing.get_origin(kind) is Literal else kind
        if type(value) is plain:
            if isinstance(value, float) and not math.isfinite(value):
                break
            return value
        if plain is float and type(value) is int:
            return float(value)
    raise UserError(f"setting {name} is {value!r}, which is not {_type_name(name)}")
