"""All models of the benchmark by name: ``MODELS[name](settings)(batch) -> logits [batch, 20]``.

Each entry imports its file on first use, so listing the names stays instant. To add a model,
write one file and add one line here (see docs/new-model.md).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from benchmark.settings import nearest_name
from musclemap_data.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from benchmark.settings import Settings


def _lazy(file: str, constructor: str) -> Callable[[Settings], nn.Module]:
    """A constructor that imports ``benchmark.models.<file>`` when it is called."""

    def build(settings: Settings) -> nn.Module:
        module = importlib.import_module(f"benchmark.models.{file}")
        model: nn.Module = getattr(module, constructor)(settings)
        return model

    build.__name__ = constructor
    return build


MODELS: dict[str, Callable[[Settings], nn.Module]] = {
    "random": _lazy("constant", "random"),
    "all-ones": _lazy("constant", "all_ones"),
    "label-prior": _lazy("constant", "label_prior"),
    "activity": _lazy("activity", "activity"),
    "activity-soft": _lazy("activity", "activity_soft"),
    "prototype": _lazy("activity", "prototype"),
    "embedded": _lazy("embedded", "embedded"),
    "probe": _lazy("probe", "probe"),
    "zero-shot": _lazy("zero_shot", "zero_shot"),
    "stgcn": _lazy("stgcn", "stgcn"),
    "ctrgcn": _lazy("ctrgcn", "ctrgcn"),
    "hdgcn": _lazy("hdgcn", "hdgcn"),
    "posture": _lazy("posture", "posture"),
    "c2d": _lazy("c2d", "c2d"),
    "i3d": _lazy("i3d", "i3d"),
    "slow": _lazy("slow", "slow"),
    "slowfast": _lazy("slowfast", "slowfast"),
    "mvit_v2_s": _lazy("mvit", "mvit_v2_s"),
    "mvit_v2_b": _lazy("mvit", "mvit_v2_b"),
    "swin3d_s": _lazy("swin3d", "swin3d_s"),
    "swin3d_b": _lazy("swin3d", "swin3d_b"),
    "transm3e": _lazy("transm3e", "transm3e"),
}


def need_model(name: str) -> None:
    """See that there is a model of this name.

    Raises:
        UserError: there is none; the message names the nearest and all others.
    """
    if name not in MODELS:
        near = nearest_name(name, MODELS)
        raise UserError(f"there is no model {name!r}{near} (all: {', '.join(MODELS)})")
