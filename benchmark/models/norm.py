"""Batch normalisation whose statistics are those of the whole batch, however it is shared out.

Statistics of a part alone would make the result depend on the number of processes. PyTorch's own
``SyncBatchNorm`` does this on GPUs and without a mask only.
"""

from __future__ import annotations

import torch
import torch.distributed.nn
from torch import Tensor, nn


def sum_over_processes(values: Tensor) -> Tensor:
    """The sum of a tensor, any shape [...], over all processes; its gradient is summed likewise."""
    if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
        summed: Tensor = torch.distributed.nn.functional.all_reduce(values.contiguous())
        return summed
    return values


class MaskedBatchNorm(nn.Module):
    """Batch normalisation of ``[batch, channels, ...]`` over what a mask marks as present.

    Parameters, buffers and evaluation are those of ``nn.BatchNorm2d``; in training the mean and
    variance leave absent positions out and are taken over all processes. Absent positions come out
    as zero.

    It is no subclass of PyTorch's layers: ``SyncBatchNorm.convert_sync_batchnorm`` would replace
    it by a layer that knows no mask.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))  # as weights files have it

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Normalise ``[batch, channels, ...]``; mask ``[batch, 1, ...]`` of ones and zeros."""
        if self.training:
            mean, variance = self._batch_statistics(features, mask)
        else:
            mean, variance = self.running_mean, self.running_var
        scale = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * scale
        # An affine map a channel; one fused multiply-add, then the mask.
        trailing = (...,) + (None,) * (features.ndim - 2)
        out = torch.addcmul(shift[trailing], features, scale[trailing])
        return (out * mask).to(features.dtype)

    def _batch_statistics(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        axes = (0, *range(2, features.ndim))
        trailing = (...,) + (None,) * (features.ndim - 2)
        # In float32: sums over thousands of positions lose too much in bf16 autocast.
        wide = features.float() * mask
        sums = sum_over_processes(torch.cat([wide.sum(axes), mask.sum().float()[None]]))
        present = (sums[-1] > 0).to(sums.dtype)
        count = sums[-1].clamp(min=1)
        mean = sums[:-1] / count
        centred = (wide - mean[trailing]) * mask
        variance = sum_over_processes(centred.square().sum(axes)) / count
        with torch.no_grad():
            momentum = self.momentum * present  # nobody in the batch: keep the past
            unbiased = variance * count / (count - 1).clamp(min=1)
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(unbiased, momentum)
        return mean, variance


class SharedBatchNorm(MaskedBatchNorm):
    """A plain batch norm layer over all processes, also on CPUs."""

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise ``[batch, channels, ...]``."""
        if mask is None:
            mask = features.new_ones((len(features), 1, *features.shape[2:]))
        return super().forward(features, mask)


def share_batch_statistics(model: nn.Module, device: torch.device) -> nn.Module:
    """A model whose batch norm layers take their statistics over all processes.

    On GPUs plain layers become PyTorch's ``SyncBatchNorm``, which has no CPU version; there they
    become ``SharedBatchNorm``. Masked ones do it by themselves. Weights stay the same tensors.
    """
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return converted
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                shared = SharedBatchNorm(layer.num_features, layer.eps, layer.momentum or 0.1)
                shared.weight, shared.bias = layer.weight, layer.bias
                shared.train(layer.training)
                for buffer in ("running_mean", "running_var", "num_batches_tracked"):
                    setattr(shared, buffer, getattr(layer, buffer))
                setattr(parent, name, shared)
    return model
