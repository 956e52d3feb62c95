"""The ledger as a reader finds it."""

from __future__ import annotations

import os

from musclemap_data.ledger import Ledger
from musclemap_data.manifest import Clip


def test_a_ledger_in_a_folder_that_cannot_be_written_is_read_as_it_is(tmp_path, monkeypatch):
    with Ledger(tmp_path) as ledger:
        ledger.sync([Clip("c", "v", "https://example.org/v", 0, 1, "squat", "train")], tmp_path)
    # Tests may run as root, whom no permission stops: the system's answer is given for it.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with Ledger(tmp_path, read_only=True) as ledger:
        assert [clip.clip_id for clip in ledger.clips()] == ["c"]
        assert [path.name for path in tmp_path.iterdir()] == ["ledger.sqlite"]
