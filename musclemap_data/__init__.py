"""Data set construction: from video URLs to Parquet shards. Knows nothing of the models.

The verbs of the command line as functions, for a notebook::

    from pathlib import Path
    import musclemap_data as mm

    data = Path("data/mine")
    clips = mm.read_manifest(Path("my_videos.csv"), mm.load_activities())
    mm.download_videos(clips, Path("."), data)
    mm.extract_modalities(data)
    for shard, number, row in mm.iterate_rows(data, ["clip_id", "muscles"]):
        print(row)

Nothing is loaded before it is used, so that importing this package takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from musclemap_data.catalog import load_activities as load_activities
    from musclemap_data.catalog import load_muscles as load_muscles
    from musclemap_data.check.stats import dataset_stats as dataset_stats
    from musclemap_data.check.validate import validate_dataset as validate_dataset
    from musclemap_data.download.settings import DownloadSettings as DownloadSettings
    from musclemap_data.download.videos import download_videos as download_videos
    from musclemap_data.errors import UserError as UserError
    from musclemap_data.export import export_dataset as export_dataset
    from musclemap_data.extract.build import extract_modalities as extract_modalities
    from musclemap_data.manifest import read_manifest as read_manifest
    from musclemap_data.modalities.settings import ExtractionSettings as ExtractionSettings
    from musclemap_data.shards import Shard as Shard
    from musclemap_data.shards import iterate_rows as iterate_rows

_HOMES = {
    "DownloadSettings": "download.settings",
    "ExtractionSettings": "modalities.settings",
    "Shard": "shards",
    "UserError": "errors",
    "dataset_stats": "check.stats",
    "download_videos": "download.videos",
    "export_dataset": "export",
    "extract_modalities": "extract.build",
    "iterate_rows": "shards",
    "load_activities": "catalog",
    "load_muscles": "catalog",
    "read_manifest": "manifest",
    "validate_dataset": "check.validate",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
