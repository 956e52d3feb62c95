"""Features once, heads many: what a frozen encoder makes of every clip, into one Parquet file.

``--model probe --set features=FILE`` then trains heads on it in seconds, without reading a picture.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmark.data import ClipDataset
from benchmark.features import FEATURES
from benchmark.loader import Loader
from benchmark.machine import autocast, to_device
from benchmark.sampling import evaluation_batches
from benchmark.settings import Settings
from musclemap_data.catalog import SPLITS
from musclemap_data.errors import UserError
from musclemap_data.files import replacing


@dataclass(frozen=True)
class Written:
    """What :func:`write_features` wrote."""

    path: Path
    clips: int
    views: int
    width: int


def head_of(model: nn.Module) -> nn.Module:
    """The layer whose input is the features of a model.

    Raises:
        UserError: the model has none.
    """
    for owner in (model, getattr(model, "network", None)):
        if isinstance(head := getattr(owner, "head", None), nn.Module):
            return head
    raise UserError(f"a {type(model).__name__} has no head, so no features before it")


def write_features(
    model: nn.Module,
    about: Mapping[str, object],
    data: Path,
    settings: Settings,
    out: Path,
    *,
    device: torch.device,
    progress_bar: bool = False,
) -> Written:
    """Keep the features of all views of all clips of a data set.

    Args:
        model: the encoder, on ``device``; it is put into evaluation mode.
        about: what it is, for the file.
        settings: which frames and crop it sees; ``test_views`` views a clip.
        out: a ``.parquet`` file.

    Raises:
        UserError: the data set has no clips or lacks what the model reads, or it has no head.
    """
    seen: list[Tensor] = []
    hook = head_of(model).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    names: Sequence[str] = model.modalities  # type: ignore[assignment]
    clips = ClipDataset(data, SPLITS, names, settings, train=False)
    if not len(clips):
        raise UserError(f"{data} has no clips: build the data set first")
    batches = evaluation_batches(len(clips), settings.batch_size)
    loader = Loader(clips, batches, workers=settings.workers)
    found = []
    try:
        with torch.inference_mode():
            model.eval()
            bar = tqdm(loader, total=len(batches), disable=not progress_bar)
            for batch in bar:
                seen.clear()
                with autocast(settings, device):
                    model(to_device(batch, device, settings))
                found.append(seen[0].float().cpu())
    finally:
        hook.remove()
    features = torch.cat(found).flatten(1).numpy()
    ids = [clips.clips[clip].clip_id for clip, _ in clips.items]
    values = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), features.shape[1])
    table = pa.table({"clip_id": pa.array(ids), FEATURES: values})
    table = table.replace_schema_metadata({b"musclemap.encoder": json.dumps(dict(about)).encode()})
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as temporary:
        pq.write_table(table, temporary)
    return Written(out, len(clips.clips), len(clips.items), features.shape[1])
