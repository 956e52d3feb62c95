"""A data set without its pictures: what may be given to others when the videos are not ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from shutil import copystat

import pyarrow as pa

from musclemap_data.export.contents import Contents
from musclemap_data.modalities import MODALITIES, pictures
from musclemap_data.rows import schema
from musclemap_data.shards import Shard, write_dataset_info, write_shard


def holds_pictures(kind: pa.DataType) -> bool:
    """Whether a column of this type holds encoded pictures: bytes, or lists of them."""
    inner = getattr(kind, "value_type", kind)
    return bool(pa.types.is_binary(inner) or pa.types.is_large_binary(inner))


def without_pictures(contents: Contents, out: Path, on_shard: Callable[[], None]) -> Contents:
    """Write a data set's shards into ``out/shards`` with every picture null.

    Ids, times, labels, skeletons and provenance stay, so it is a data set of the same format.

    Returns:
        What is in it. Licences, counts and failures are those of the whole.
    """
    (out / "shards").mkdir(parents=True)
    listed, shards = {}, {}
    for split, found in contents.shards.items():
        shards[split] = [out / "shards" / path.name for path in found]
        for path, target in zip(found, shards[split], strict=True):
            listed[path.name] = contents.info["shards"][path.name] | {
                "sha256": write_shard(target, _bare_rows(path))
            }
            on_shard()
    seen = {modality.name for modality in MODALITIES.values() if modality.key in pictures()}
    made = {name: how for name, how in contents.info["modalities"].items() if name not in seen}
    info = {**contents.info, "shards": listed, "modalities": made}
    write_dataset_info(out, info)
    copystat(contents.data_dir / "dataset.json", out / "dataset.json")  # the day it was built
    return replace(contents, data_dir=out, info=info, shards=shards)


def _bare_rows(path: Path) -> Iterator[pa.Table]:
    fields = schema()
    kept = [field.name for field in fields if not holds_pictures(field.type)]
    with Shard(path) as shard:
        for index in range(len(shard)):
            row = shard.row_table(index, kept)
            arrays = [
                row[field.name] if field.name in kept else pa.nulls(1, field.type)
                for field in fields
            ]
            yield pa.Table.from_arrays(arrays, schema=fields)
