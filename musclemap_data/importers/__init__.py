"""Bring in data sets that a user has downloaded: each importer is ``function(folder, out)``.

``ucf101``, ``hmdb51`` and ``musclemap`` write a manifest or list (``out`` is a CSV file);
``penn-action`` writes a data set (``out`` is a folder).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from musclemap_data.importers.action_sets import import_hmdb51, import_ucf101
from musclemap_data.importers.original import import_original
from musclemap_data.importers.penn_action import import_penn_action
from musclemap_data.importers.report import ImportReport

IMPORTERS: dict[str, Callable[[Path, Path], ImportReport]] = {
    "ucf101": import_ucf101,
    "hmdb51": import_hmdb51,
    "penn-action": import_penn_action,
    "musclemap": import_original,
}
