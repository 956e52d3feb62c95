"""What a look at a data set can find, by kind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What can be wrong with the content of a clip; ``MEANING`` says it in words."""

    FROZEN = "frozen"
    DEBRIS = "debris"
    BLANK = "blank"
    RGB_DIFF = "rgb-diff"
    FLOW = "flow"
    SKELETON = "skeleton"
    POOR_SKELETON = "poor-skeleton"


MEANING: dict[Kind, str] = {
    Kind.FROZEN: "the same picture, bit for bit, for half a second or more",
    Kind.DEBRIS: "pictures unlike both neighbours, again and again: the decoder lost its way",
    Kind.BLANK: "half of the pictures or more are of one colour: black, grey, green",
    Kind.RGB_DIFF: "the RGB difference is not that of the stored pictures",
    Kind.FLOW: "the flow does not carry one picture to the next",
    Kind.SKELETON: "a skeleton that cannot be: no numbers, outside the picture, or never moving",
    Kind.POOR_SKELETON: "a skeleton of bad quality: it jumps, changes its limbs, leaves the body",
}

EXPECTED = frozenset({Kind.POOR_SKELETON})
"""What a sound data set of real videos has as well: no pose model is always right."""


@dataclass(frozen=True)
class Finding:
    """Something in a clip that cannot be right.

    Attributes:
        kind: what sort of thing.
        shard: file name of the shard.
        row: number of the row in it.
        clip_id: of the clip.
        what: in words, with numbers.
        worst: the larger, the worse; comparable within a kind.
        frames: numbers of the frames that show it.
    """

    kind: Kind
    shard: str
    row: int
    clip_id: str
    what: str
    worst: float
    frames: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.kind}: {self.shard} row {self.row} ({self.clip_id}): {self.what}"


@dataclass(frozen=True)
class Seen:
    """What a look at one clip gives: ``Finding`` without the address."""

    kind: Kind
    what: str
    worst: float
    frames: tuple[int, ...]


def counts(findings: Iterable[Finding]) -> dict[Kind, int]:
    """Kind -> clips, of all kinds."""
    kinds = [each.kind for each in findings]
    return {kind: kinds.count(kind) for kind in Kind}
