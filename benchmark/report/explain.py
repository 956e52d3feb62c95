"""Where a video model looks for a muscle region: Grad-CAM (Selvaraju et al., ICCV 2017).

For a region with logit y and feature maps A of channels k and places i (frames x height x width):

    alpha_k = mean over i of dy / dA[k, i]           their eq. 1, with time as a third axis
    map[i]  = max(0, sum over k of alpha_k A[k, i])  their eq. 2

A is what the end of the network reads:

* MViTv2, also as TransM3E's video stream: the normalised patches that the last block attends to
  (it writes class tokens only, so nobody reads its own patches);
* ResNets: the output of the last stage; of SlowFast's two pathways, the slow one;
* Video Swin: the features after the final norm.

The map says which places speak for a region in this network. It does not say that they should.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.clips import Clip, check_modalities
from benchmark.data import Batch, ClipDataset
from benchmark.loader import collate
from benchmark.machine import to_device
from benchmark.predict.runs import load_run
from benchmark.predictions import EVALUATION_SPLITS, read_predictions
from benchmark.sampling import view_indices
from musclemap_data.errors import UserError

LARGEST_OPACITY = 0.75


@dataclass(frozen=True)
class Explanation:
    """The map of one view of one clip.

    Attributes:
        frames: ``uint8 [T, S, S, 3]`` RGB, what the model saw.
        frame_numbers: which frames of the clip these are, ``int64 [T]``.
        heat: ``float32 [T, S, S]``: 0 to 1, the view's largest value; all 0 where nothing speaks
            for the region.
    """

    clip: Clip
    frames: npt.NDArray[np.uint8]
    frame_numbers: npt.NDArray[np.int64]
    heat: npt.NDArray[np.float32]


def grad_cam(model: nn.Module, batch: Batch, region: int) -> Tensor:
    """Grad-CAM maps of one region; the formula and the layers are at the top of this file.

    Args:
        model: one of the video models; it is put into eval mode.
        batch: as the model takes it.
        region: 0-19.

    Returns:
        ``float32 [B, T', H', W']``, at least 0, at the resolution of the features.

    Raises:
        ValueError: the model has no pictures to look at, or is not known here.
    """
    seen: list[Tensor] = []

    def keep(features: Tensor) -> Tensor:
        # A leaf: nothing before it needs a gradient, and a frozen network has one all the same.
        seen.append(features.detach().requires_grad_())
        return seen[-1]

    kind, layer = _explained_layer(model)
    if kind == "input":
        hook = layer.register_forward_pre_hook(lambda _, inputs: (*inputs[:-1], keep(inputs[-1])))
    else:
        hook = layer.register_forward_hook(lambda _, inputs, output: keep(output))
    model.eval()
    try:
        with torch.enable_grad():
            # The clips of a batch do not mix in eval mode: a gradient of the sum is that of each.
            total = model(batch)[:, region].sum()
    finally:
        hook.remove()
    (gradient,) = torch.autograd.grad(total, seen[-1])
    features = seen[-1].detach()
    if kind == "output, channels first":
        features, gradient = features.movedim(1, -1), gradient.movedim(1, -1)
    alpha = gradient.mean((1, 2, 3), keepdim=True)
    return (alpha * features).sum(-1).relu().float()


def _explained_layer(model: nn.Module) -> tuple[str, nn.Module]:
    """Where in the network A is found, and in which layout."""
    from benchmark.models.mvit import MViTClassifier
    from benchmark.models.resnet3d import ResNet3D
    from benchmark.models.slowfast import SlowFast
    from benchmark.models.swin3d import Swin3D
    from benchmark.models.transm3e import TransM3E

    if isinstance(model, TransM3E):
        return "input", model.video.backbone.blocks[-1].attention  # type: ignore[return-value]
    if isinstance(model, MViTClassifier):
        return "input", model.backbone.blocks[-1].attention  # type: ignore[return-value]
    if isinstance(model, ResNet3D):
        return "output, channels first", model.stages[-1]
    if isinstance(model, SlowFast):
        return "output, channels first", model.slow_stages[-1]
    if isinstance(model, Swin3D):
        return "output", model.network.norm
    raise ValueError(
        f"Grad-CAM needs a video model; {type(model).__name__} reads "
        f"{', '.join(getattr(model, 'modalities', ())) or 'nothing'}"
    )


def fit_map(maps: Tensor, size: tuple[int, int, int]) -> npt.NDArray[np.float32]:
    """Maps brought to the size of the pictures, each divided by its largest value.

    Args:
        maps: ``float32 [B, T', H', W']``, at least 0.
        size: frames, height, width.

    Returns:
        ``float32 [B, *size]`` in 0..1; a map of zeros stays zero.
    """
    fitted = F.interpolate(maps[:, None].float(), size, mode="trilinear", align_corners=False)[:, 0]
    largest = fitted.amax((1, 2, 3), keepdim=True)
    scaled: npt.NDArray[np.float32] = (
        (fitted / torch.where(largest > 0, largest, 1.0)).cpu().numpy()
    )
    return scaled


def overlay(frames: npt.NDArray[np.uint8], heat: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Heat over pictures: the hotter, the less of the picture shows.

    Args:
        frames: ``uint8 [T, H, W, 3]`` RGB.
        heat: ``float32 [T, H, W]`` in 0..1.

    Returns:
        ``uint8 [T, H, W, 3]`` RGB.
    """
    levels = np.rint(heat * 255).astype(np.uint8)
    colours = np.stack(
        [cv2.applyColorMap(level, cv2.COLORMAP_INFERNO)[..., ::-1] for level in levels]
    )
    opacity = LARGEST_OPACITY * heat[..., None]
    mixed: npt.NDArray[np.uint8] = np.rint(colours * opacity + frames * (1 - opacity)).astype(
        np.uint8
    )
    return mixed


def explain_clips(
    run_dir: Path, data_dir: Path, clip_ids: Sequence[str], region: int
) -> list[Explanation]:
    """Grad-CAM on the middle test view of some clips of a run, in the order asked for.

    Args:
        clip_ids: clips that the run was scored on.
        region: 0-19.

    Raises:
        UserError: the model has no picture stream, or the clips or their pictures are not there.
    """
    run = load_run(run_dir, device_name="cpu")
    model, settings = run.model, run.settings
    try:
        _explained_layer(model)
    except ValueError as error:
        raise UserError(str(error)) from None
    scored = read_predictions(Path(run_dir) / "predictions.parquet")
    dataset = ClipDataset(
        data_dir,
        EVALUATION_SPLITS,
        sorted({"rgb", *model.modalities}),  # type: ignore[misc]
        settings,
        train=False,
        assigned={c.clip_id: c.split for c in scored.clips if c.clip_id in clip_ids},
    )
    missing = set(clip_ids) - {clip.clip_id for clip in dataset.clips}
    if missing:
        raise UserError(f"the clips {', '.join(sorted(missing))} are not in {data_dir}")
    check_modalities(dataset.clips, dataset.modalities)
    views: dict[str, list[int]] = {}
    for item, (clip_number, _) in enumerate(dataset.items):
        views.setdefault(dataset.clips[clip_number].clip_id, []).append(item)
    explanations = []
    for clip_id in clip_ids:
        item = views[clip_id][len(views[clip_id]) // 2]
        clip_number, start = dataset.items[item]
        clip = dataset.clips[clip_number]
        view = dataset[item]
        frames = view["rgb"].permute(1, 2, 3, 0).numpy()
        batch = to_device(collate([view]), torch.device("cpu"), settings)
        maps = grad_cam(model, batch, region)
        numbers = view_indices(clip.frames, settings.frames, settings.rate, start)
        heat = fit_map(maps, frames.shape[:3])[0]
        explanations.append(Explanation(clip, frames, numbers, heat))
    return explanations
