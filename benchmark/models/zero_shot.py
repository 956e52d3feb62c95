"""A zero-shot row: how near the features of a clip lie to the embeddings of texts.

Nothing is learned from the data set. The texts speak of the 20 regions, whose nearness is the
score, or of activities: then the softmax over activities goes through the label table.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from benchmark.clips import MissingModality
from benchmark.features import FEATURES, feature_width
from benchmark.models.activity import LabelTable
from benchmark.settings import Settings
from musclemap_data.catalog import load_activities, load_muscles
from musclemap_data.errors import UserError
from musclemap_data.files import replacing

SCALE = 100.0
"""What a cosine is multiplied by before the softmax: where CLIP's own training ends (arXiv
2103.00020)."""


class ZeroShot(nn.Module):
    """Cosines of clips and texts.

    Args:
        texts: embeddings, ``float32 [K, width]``.
        sets: label sets of K activities ``[K, 20]``; None where the texts are of the 20 regions.
    """

    modalities: tuple[str, ...] = (FEATURES,)
    texts: Tensor

    def __init__(self, texts: Tensor, sets: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("texts", nn.functional.normalize(texts, dim=-1))
        self.table = LabelTable() if sets is not None else None
        if self.table is not None and sets is not None:
            self.table.sets = sets

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """``batch["features"]`` ``[batch, views, width]`` -> logits ``[batch, 20]``."""
        clips = nn.functional.normalize(batch[FEATURES].mean(1), dim=-1)
        cosines = SCALE * clips @ self.texts.T
        return cosines if self.table is None else torch.as_tensor(self.table(cosines, 1.0))


def zero_shot(settings: Settings) -> ZeroShot:
    """By the embeddings of ``settings.texts``.

    Raises:
        MissingModality: none are set.
        UserError: they are of another width than the features, or of neither the 20 regions nor
            activities.
    """
    if settings.texts is None:
        raise MissingModality(
            "zero-shot needs embeddings of texts: make them with `musclemap features --encoder "
            "FOLDER --texts FILE`, then give --set texts=PATH"
        )
    found = read_embeddings(Path(settings.texts))
    texts = torch.from_numpy(np.stack(list(found.values())))
    if settings.features is not None and texts.shape[1] != feature_width(settings):
        raise UserError(
            f"{settings.texts} has {texts.shape[1]} numbers a text, {settings.features} "
            f"{feature_width(settings)} a clip: they have to come from the same encoder"
        )
    regions = [muscle.slug for muscle in load_muscles()]
    if set(found) == set(regions):
        order = [list(found).index(region) for region in regions]
        return ZeroShot(texts[order], None)
    table = load_activities()
    if unknown := sorted(set(found) - set(table)):
        raise UserError(
            f"{settings.texts} names {unknown[0]!r}, which is no activity; its names have to be "
            "all 20 regions, or activities (`musclemap labels`)"
        )
    sets = torch.tensor([table[name].muscles for name in found], dtype=torch.float32)
    return ZeroShot(texts, sets)


def read_embeddings(path: Path) -> Mapping[str, npt.NDArray[np.float32]]:
    """A CSV file without a header: a name, then the numbers of its embedding, [D] for all.

    Raises:
        UserError: it cannot be read, or rows differ in length.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = {row[0]: np.array(row[1:], np.float32) for row in csv.reader(file) if row}
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as embeddings of texts: {error}") from error
    if len({len(row) for row in rows.values()}) != 1 or not next(iter(rows.values())).size:
        raise UserError(f"{path} needs a name and the same count of numbers in every line")
    return rows


def write_embeddings(path: Path, embeddings: Mapping[str, npt.NDArray[np.float32]]) -> None:
    """Write embeddings, [D] each, as :func:`read_embeddings` reads them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ([name, *map(repr, values.tolist())] for name, values in embeddings.items())
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
