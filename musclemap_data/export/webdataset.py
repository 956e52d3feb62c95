"""Tar shards for WebDataset: one sample is one clip, read from front to back."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from musclemap_data.catalog import load_muscles
from musclemap_data.export.contents import Contents
from musclemap_data.files import replacing
from musclemap_data.modalities import pictures
from musclemap_data.modalities.skeleton import stored_skeleton
from musclemap_data.shards import Shard


def write_webdataset(contents: Contents, out: Path, on_shard: Callable[[], None]) -> str:
    """Write ``SPLIT-00000.tar`` for each shard; gives one line to report.

    A sample has the clip's id as its key, a dot in it written ``_``, and these parts:

    - ``json``: the columns that are neither pictures nor skeletons, and ``regions``, the names of
      the active ones;
    - ``rgb.0000.jpg``, ``rgb.0001.jpg``, ...: RGB, and in the same way each other modality of
      pictures (``flow`` is grey, u over v);
    - ``skeleton.npy``: float32 ``[T, M, 17, 3]``: x, y in pixels and a score.
    """
    for found in contents.shards.values():
        for path in found:
            with (
                Shard(path) as shard,
                replacing(out / f"{path.stem}.tar") as draft,
                tarfile.open(draft, "w", format=tarfile.USTAR_FORMAT) as tar,
            ):
                for index in range(len(shard)):
                    for name, content in _sample(shard.row(index)):
                        entry = tarfile.TarInfo(name)  # of no date: the same clips, the same bytes
                        entry.size = len(content)
                        tar.addfile(entry, io.BytesIO(content))
            on_shard()
    return f"{contents.shard_count} tar shards, {contents.clip_count} clips"


def _sample(row: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    key = row["clip_id"].replace(".", "_")
    apart = {*pictures(), "skeleton"}
    plain = {name: value for name, value in row.items() if name not in apart}
    muscles = zip(load_muscles(), row["muscles"], strict=True)
    plain["regions"] = [muscle.slug for muscle, active in muscles if active]
    yield f"{key}.json", json.dumps(plain, sort_keys=True).encode()
    for modality in pictures():
        for number, picture in enumerate(row[modality] or []):
            yield f"{key}.{modality}.{number:04d}.jpg", picture
    if row["skeleton"] is not None:
        array = io.BytesIO()
        np.save(array, stored_skeleton(row))
        yield f"{key}.skeleton.npy", array.getvalue()
