"""A folder for Hugging Face ``datasets``, and its Croissant description."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from musclemap_data.catalog import load_muscles
from musclemap_data.export.card import DESCRIPTION, card_text, fill_template
from musclemap_data.export.contents import Contents
from musclemap_data.files import write_text
from musclemap_data.modalities import MODALITIES
from musclemap_data.modalities.modality import Column
from musclemap_data.ranges import copy_shard
from musclemap_data.rows import columns, file_schema

APACHE = "https://www.apache.org/licenses/LICENSE-2.0"
_OF_MAKERS = "each on the terms of its maker and site, see the data set card"
CROISSANT_VERSION = "http://mlcommons.org/croissant/1.0"
CROISSANT_CONTEXT = Path(__file__).with_name("croissant_context.json")
"""The context that the Croissant 1.0 specification prescribes."""
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))


def exported_name(contents: Contents, path: Path) -> str:
    """``data/SPLIT-00000-of-00003.parquet``: the name of a shard in the folder."""
    split, number = path.stem.rsplit("-", 1)
    return f"data/{split}-{number}-of-{len(contents.shards[split]):05d}.parquet"


def place_shards(contents: Contents, out: Path, on_shard: Callable[[], None]) -> None:
    """Put the shards into ``out/data``, see ``copy_shard``."""
    (out / "data").mkdir(exist_ok=True)
    for path in contents.shard_paths:
        copy_shard(path, out / exported_name(contents, path))
        on_shard()


def write_hf_readme(contents: Contents, out: Path) -> None:
    """``README.md``: the card, below the header that ``datasets`` and the Hub read."""
    size = next((name for most, name in _SIZES if contents.clip_count < most), "100K<n<1M")
    text = fill_template(
        "readme.md.jinja",
        name=json.dumps(contents.info.get("name", "MuscleMap")),
        synthetic=contents.synthetic,
        size=size,
        splits=contents.shards,
        features=[_feature(field) for field in file_schema()],
        card=card_text(contents),
    )
    write_text(out / "README.md", text)


def _feature(field: pa.Field) -> dict[str, str]:
    """A column as ``datasets`` declares it: ``dtype: string``, or ``list: image`` of pictures."""
    is_list = hasattr(field.type, "value_type")
    inner = str(field.type.value_type if is_list else field.type)
    names = {"float": "float32", "double": "float64", "binary": "image", "large_binary": "image"}
    form = "list" if is_list else "dtype"
    return {"name": field.name, "form": form, "kind": names.get(inner, inner)}


def write_croissant(contents: Contents, out: Path) -> None:
    """``croissant.json``: the Croissant 1.0 description of ``data/``, with a hash of every file.

    Every file is a FileObject, all together are the FileSet that the records come from.
    """
    muscles = [muscle.slug for muscle in load_muscles()]
    files = [
        {
            "@type": "cr:FileObject",
            "@id": path.name,
            "name": path.name,
            "description": f"Clips of the split {split}.",
            "contentUrl": exported_name(contents, path),
            "encodingFormat": "application/x-parquet",
            "sha256": contents.info["shards"][path.name]["sha256"],
            "contentSize": f"{path.stat().st_size} B",
        }
        for split, found in contents.shards.items()
        for path in found
    ]
    built = (contents.data_dir / "dataset.json").stat().st_mtime
    document = {
        "@context": json.loads(CROISSANT_CONTEXT.read_text(encoding="utf-8")),
        "@type": "sc:Dataset",
        "conformsTo": CROISSANT_VERSION,
        "name": re.sub(r"[^A-Za-z0-9_-]+", "-", str(contents.info.get("name", "musclemap"))),
        "description": f"{DESCRIPTION} Regions in the order of the label vector: "
        f"{', '.join(muscles)}."
        + (" The videos are synthetic: drawn by a program." if contents.synthetic else ""),
        "license": APACHE if contents.synthetic else f"labels: {APACHE}; videos: {_OF_MAKERS}",
        "url": "https://arxiv.org/abs/2303.00952",
        "citeAs": "Peng et al., Towards Activated Muscle Group Estimation in the Wild, ACM MM 2024 "
        "(the task; this data set is an open rebuild, not the authors' release)",
        "creator": {"@type": "sc:Organization", "name": "MuscleMap toolkit"},
        "version": "1.0.0",
        "datePublished": datetime.fromtimestamp(built, UTC).date().isoformat(),
        "distribution": [
            *files,
            {
                "@type": "cr:FileSet",
                "@id": "shards",
                "name": "shards",
                "description": "All shards.",
                "encodingFormat": "application/x-parquet",
                "includes": "data/*.parquet",
            },
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "clips",
                "name": "clips",
                "description": "One record is one clip.",
                "key": {"@id": "clips/clip_id"},
                "field": [_field(column) for column in _columns_there(contents)],
            }
        ],
    }
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    write_text(out / "croissant.json", text)


def _columns_there(contents: Contents) -> list[Column]:
    absent = {
        column.name
        for modality in MODALITIES.values()
        if modality.name not in contents.modalities
        for column in modality.columns
    }
    return [column for column in columns() if column.name not in absent]


def _field(column: Column) -> dict[str, object]:
    is_list = hasattr(column.type, "value_type")
    inner = str(column.type.value_type if is_list else column.type)
    types = {"string": "sc:Text", "bool": "sc:Boolean"}
    types |= dict.fromkeys(("binary", "large_binary"), "sc:ImageObject")
    data_type = types.get(inner, "sc:Integer" if inner.startswith("int") else "sc:Float")
    field = {
        "@type": "cr:Field",
        "@id": f"clips/{column.name}",
        "name": column.name,
        "description": column.what,
        "dataType": data_type,
        "source": {"fileSet": {"@id": "shards"}, "extract": {"column": column.name}},
    }
    return field | ({"repeated": True} if is_list else {})
