"""What an import did: nothing that was found in the folder goes uncounted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from musclemap_data.catalog import SPLITS

MOST_PRINTED = 10


@dataclass(frozen=True)
class ImportReport:
    """Counts of one import; ``str(report)`` is for people.

    Attributes:
        source: name of the imported set.
        written: files or folders that were written.
        splits: clips by split.
        activities: clips by activity.
        left_out: reason -> number of clips (or files) that are not in what was written.
        failed: file -> why it could not be read; these are counted in ``left_out`` too.
        notes: what a user should know about the result.
    """

    source: str
    written: tuple[Path, ...]
    splits: Mapping[str, int]
    activities: Mapping[str, int]
    left_out: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def clips(self) -> int:
        """Number of clips taken in."""
        return sum(self.splits.values())

    def __str__(self) -> str:
        counts = ", ".join(f"{split} {self.splits.get(split, 0)}" for split in SPLITS)
        lines = [
            f"{self.source}: {self.clips} clips of {len(self.activities)} activities",
            f"  {counts}",
        ]
        if self.left_out:
            lines.append(f"  left out: {sum(self.left_out.values())}")
            lines += [f"    {count}: {reason}" for reason, count in sorted(self.left_out.items())]
        shown = list(self.failed.items())[:MOST_PRINTED]
        lines += [f"  {name}: {reason}" for name, reason in shown]
        if len(self.failed) > len(shown):
            lines.append(f"  ... and {len(self.failed) - len(shown)} more")
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  wrote {path}" for path in self.written]
        return "\n".join(lines)


def sorted_counts(counter: Counter[str]) -> dict[str, int]:
    """A counter as a dict in the order of its keys, so that reports and files repeat."""
    return dict(sorted(counter.items()))
