"""The model in the box as a row of the benchmark: trained on synthetic motion, not on the data."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from benchmark.embedded.model import EmbeddedModel
from benchmark.settings import Settings

CLIP_FPS = 30.0
"""Frames a second that a clip is taken to have: a batch does not say."""


class EmbeddedRow(nn.Module):
    """Logits of the regions that the embedded model reads from the first person's skeleton.

    Nothing of it is trained here.
    """

    modalities: tuple[str, ...] = ("skeleton",)

    def __init__(self, rate: int) -> None:
        super().__init__()
        self.model = EmbeddedModel.load()
        self.seconds_a_frame = rate / CLIP_FPS

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """``batch["skeleton"]`` ``[batch, M, frames, 17, 3]`` -> logits ``[batch, 20]``."""
        skeletons = batch["skeleton"][:, 0].float().cpu().numpy()
        times = np.arange(skeletons.shape[1]) * self.seconds_a_frame
        said = [self.model.recognise(_filled(each), times) for each in skeletons]
        regions = np.stack([each.regions()[each.counted].mean(axis=0) for each in said])
        scores = torch.from_numpy(regions).to(batch["skeleton"].device, torch.float32)
        return scores.logit(eps=1e-6)


def _filled(skeleton: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Masked joints put between the moments in which they were seen; the model wants whole bodies.

    A joint that is never seen lies at the centre. A frame with no joint at all stays without.
    """
    whole, frames = np.nan_to_num(skeleton), np.arange(len(skeleton))
    for joint in range(skeleton.shape[1]):
        seen = np.flatnonzero(skeleton[:, joint, 2] > 0)
        for axis in range(2 if seen.size else 0):
            whole[:, joint, axis] = np.interp(frames, seen, skeleton[seen, joint, axis])
    whole[..., 2] = (skeleton[..., 2] > 0).any(axis=1, keepdims=True)
    return whole


def embedded(settings: Settings) -> EmbeddedRow:
    """The embedded model; of the settings only ``rate`` matters."""
    return EmbeddedRow(settings.rate)
