"""What a modality is: one object with all that MuscleMap knows about it.

Extraction, shards, ``validate``, the data set card, the browser, the benchmark's loader and its
report go through the entries of ``MODALITIES``. docs/new-modality.md adds one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from musclemap_data.modalities.settings import ExtractionSettings

Frames = npt.NDArray[np.uint8]
Row = Mapping[str, Any]
"""A row of a shard as plain values: JPEGs are ``bytes``, an absent modality is None."""

JPEGS = pa.list_(pa.large_binary())
"""Arrow type of a column of pictures. Large: what joins rows may come to more than 2 GiB."""


@dataclass(frozen=True)
class Column:
    """A column of a shard.

    Attributes:
        name: unique in the shard.
        type: Arrow type.
        what: what is in it, in a few words for the data set card.
    """

    name: str
    type: pa.DataType
    what: str


class Maker(Protocol):
    """Makes one modality of one clip, whose frames come in windows so that any length fits."""

    def add(self, frames: Frames) -> Iterable[bytes]:
        """Take the next window of the clip.

        Args:
            frames: ``uint8 [t, H, W, 3]`` RGB. The next window overwrites it: copy what must stay.

        Returns:
            The JPEGs to store, in order, see ``jpeg.encode_jpeg``; all are read before the next
            call. A modality of numbers has none.
        """
        ...

    def finish(self) -> Mapping[str, object]:
        """After the last window: the values of the other columns.

        Raises:
            StageError: the clip is not to be built.
        """
        ...


@dataclass(frozen=True)
class Pictures:
    """The content of a modality is one JPEG a frame.

    The numbers say what a model and a person make of the stored bytes.

    Attributes:
        channels: of the decoded picture: 3 is RGB, 1 is grey. 2 is a field of vectors, u (right)
            stacked over v (down) in one grey picture ``[2H, W]``, each 127.5 at rest. A mirror
            turns the vectors too. 255 stands for the bound in the column ``KEY_bound_px``.
        of_pairs: one picture a pair of neighbouring frames, so one fewer than frames.
        scale: a model reads ``value * scale + shift``.
        shift: see ``scale``.
        blank: the stored value for "nothing": where random erasing cuts, where no pair is.
        gain: a person is shown it this many times as bright.
    """

    channels: Literal[1, 2, 3] = 3
    of_pairs: bool = False
    scale: float = 1.0 / 255.0
    shift: float = 0.0
    blank: int = 0
    gain: int = 1

    @property
    def colorspace(self) -> str:
        """Of the JPEG, as simplejpeg calls it."""
        return "RGB" if self.channels == 3 else "GRAY"

    def count(self, frames: int) -> int:
        """Pictures of a clip of so many frames."""
        return frames - self.of_pairs

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the stored picture of a frame, pixels."""
        return (2 * height if self.channels == 2 else height), width

    def decode(self, jpeg: bytes) -> Frames:
        """The stored picture, ``uint8 [h, w, 3]`` or ``[h, w, 1]``.

        Raises:
            ValueError: it is damaged.
        """
        import simplejpeg

        picture: Frames = simplejpeg.decode_jpeg(jpeg, colorspace=self.colorspace)
        return picture

    def problems(self, column: str, row: Row) -> list[str]:
        """What is wrong with the pictures of a row; every one of them is decoded."""
        problems = []
        count = self.count(row["frames"])
        shape = (*self.size(row["height"], row["width"]), 3 if self.channels == 3 else 1)
        if len(row[column]) != count:
            problems.append(f"{column} has {len(row[column])} frames, not {count}")
        for number, jpeg in enumerate(row[column]):
            try:
                found = self.decode(jpeg).shape
            except ValueError as error:
                return [*problems, f"{column} frame {number} does not decode: {error}"]
            if found != shape:
                return [*problems, f"{column} frame {number} is {found}, not {shape}"]
        return problems


@dataclass(frozen=True)
class Numbers:
    """The content of a modality is ``float32`` numbers for every frame, in one flat list.

    Attributes:
        shape: the shape of a clip's numbers, ``(frames, ...)``, from the other columns of its row.
    """

    shape: Callable[[Row], tuple[int, ...]]

    def decode(
        self, column: str, row: Row, values: npt.NDArray[np.float32] | None = None
    ) -> npt.NDArray[np.float32]:
        """The numbers of a row, ``float32 [T, ...]``.

        Args:
            column: where they lie.
            row: with what ``shape`` reads.
            values: the flat list where the caller has it as an array already.

        Raises:
            ValueError: they are more or fewer than the row says.
        """
        flat = np.asarray(row[column], np.float32) if values is None else values
        frames, *rest = shape = self.shape(row)
        if flat.size != np.prod(shape):
            wanted = " x ".join([f"{frames} frames", *map(str, rest)])
            raise ValueError(f"{column} has {flat.size} values, not {wanted}")
        return flat.reshape(shape)

    def problems(self, column: str, row: Row) -> list[str]:
        """What is wrong with the numbers of a row."""
        try:
            self.decode(column, row)
        except ValueError as error:
            return [str(error)]
        return []


@dataclass(frozen=True)
class Modality:
    """One modality of a clip.

    Its ``name`` is what the command line, the provenance and messages say (``rgb-diff``). Its
    ``key`` is the same with underscores: the name of its first column and of its part of a batch
    (``rgb_diff``). Nothing else turns one into the other.

    Attributes:
        name: lower case, words joined by hyphens.
        title: for people.
        legend: what a person sees in its pictures, where the title is not enough.
        columns: of the shard, the first called ``key``; null where it was not extracted.
        content: how the first column is stored, checked, read by a model and shown.
        maker: a new ``Maker`` for each clip.
        describe: the provenance of a row as JSON values: extractor, version and settings. A row
            whose provenance is equal need not be made again.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    content: Pictures | Numbers
    maker: Callable[[ExtractionSettings], Maker]
    describe: Callable[[ExtractionSettings], Mapping[str, object]]
    legend: str = ""

    def __post_init__(self) -> None:
        if self.columns[0].name != self.key:
            raise ValueError(f"the first column of modality {self.name} must be {self.key!r}")

    @property
    def key(self) -> str:
        """The name of its first column and of its part of a batch."""
        return self.name.replace("-", "_")

    def problems(self, row: Row) -> list[str]:
        """What is wrong with it in a row; nothing where it was not extracted."""
        return self.content.problems(self.key, row) if row[self.key] is not None else []
