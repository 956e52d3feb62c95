"""Exports of a finished data set into other tools' formats, each folder whole or not there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from musclemap_data.errors import UserError
from musclemap_data.export.card import card_text
from musclemap_data.export.contents import read_contents
from musclemap_data.export.datasets_folder import place_shards, write_croissant, write_hf_readme
from musclemap_data.export.fiftyone import write_fiftyone
from musclemap_data.export.lerobot import write_lerobot
from musclemap_data.export.openmmlab import write_mmaction2, write_skeletons
from musclemap_data.export.webdataset import write_webdataset
from musclemap_data.files import write_text

FORMATS = ("hf", "croissant", "webdataset", "fiftyone", "lerobot", "mmaction2", "pyskl", "card")
FULL_PASSES = {
    "webdataset": write_webdataset,
    "fiftyone": write_fiftyone,
    "lerobot": write_lerobot,
}
"""Formats that read every shard by themselves, each into a folder of its own."""
RECORD = "export.json"
"""Written into every export; a folder that has it may be overwritten, no other."""


def export_dataset(
    data_dir: Path,
    out: Path,
    formats: tuple[str, ...],
    *,
    overwrite: bool = False,
    on_total: Callable[[int], None] = lambda total: None,
    on_shard: Callable[[], None] = lambda: None,
) -> list[str]:
    """Write a data set in one or more formats into one folder.

    ``hf`` (README.md, data/), ``croissant`` (croissant.json, data/) and ``card``
    (DATASET_CARD.md) lie side by side; each other format has a folder of its own when there are
    more formats than one. The folder is written under another name, then
    renamed.

    Args:
        data_dir: a finished data set.
        out: the folder; it must not exist, or be empty.
        formats: names in ``FORMATS``.
        overwrite: also replace a folder that an earlier export wrote.
        on_total: called once with the number of shards to go through, over all formats.
        on_shard: called after each.

    Returns:
        Lines that say what was written.

    Raises:
        UserError: an unknown format, no finished data set, or a folder that is not ours to replace.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise UserError(
            f"format is {', '.join(unknown) or 'empty'}; choose from {', '.join(FORMATS)}, all"
        )
    out = Path(out)
    _check_target(out, overwrite)
    contents = read_contents(data_dir)
    links = bool({"hf", "croissant"} & set(formats))
    skeletons = [name for name in ("mmaction2", "pyskl") if name in formats]
    passes = [name for name in FULL_PASSES if name in formats]
    on_total(contents.shard_count * (links + len(passes) + bool(skeletons)))
    target = out.resolve()
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    report = []
    try:
        draft.mkdir(parents=True)
        folders = {}
        for name in skeletons + passes:
            folders[name] = draft / name if len(formats) > 1 else draft
            folders[name].mkdir(exist_ok=True)
        if links:
            place_shards(contents, draft, on_shard)
            report.append(f"data/: {contents.shard_count} shards, {contents.clip_count} clips")
        if "hf" in formats:
            write_hf_readme(contents, draft)
            report.append(f'README.md: datasets.load_dataset("{out}")')
        if "croissant" in formats:
            write_croissant(contents, draft)
            report.append(f'croissant.json: mlcroissant.Dataset("{out / "croissant.json"}")')
        if "card" in formats:
            write_text(draft / "DATASET_CARD.md", card_text(contents))
            report.append("DATASET_CARD.md")
        for name in passes:
            line = FULL_PASSES[name](contents, folders[name], on_shard)
            report.append(f"{name}: {line}".replace(str(draft), str(out)))
        if "mmaction2" in formats:
            report.append(f"mmaction2: {write_mmaction2(contents, folders['mmaction2'])}")
        if skeletons:
            report.append(
                write_skeletons(contents, [folders[name] for name in skeletons], on_shard)
            )
        record = {"musclemap": version("musclemap"), "formats": list(formats)}
        write_text(draft / RECORD, json.dumps(record, indent=2) + "\n")
        _move_into_place(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return report


def _check_target(out: Path, overwrite: bool) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise UserError(f"{out} is a file; give a folder that does not exist yet as --out")
    if not any(out.iterdir()):
        return
    if not (out / RECORD).is_file():
        raise UserError(
            f"{out} is not empty and no earlier export: choose another --out (its files are safe)"
        )
    if not overwrite:
        raise UserError(f"{out} holds an earlier export: add --overwrite, or choose another --out")


def _move_into_place(draft: Path, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.exists() and any(out.iterdir()):
        old = draft.with_suffix(".old")
        out.rename(old)
        draft.rename(out)
        shutil.rmtree(old)
    else:
        if out.exists():
            out.rmdir()
        draft.rename(out)
