"""Two operations of the video transformer, each with the fastest form per kind of processor.

Same numbers everywhere; only the order of summation differs. The forms were chosen by
measurement (tests/bench/bench_model.py) on a Zen 4 CPU; the GPU forms are PyTorch's own.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

# Scores computed at once on a CPU: this many floats stay in the second-level cache.
SCORES_AT_ONCE = 2**18


def biased_attention(
    query: Tensor, bias_features: Tensor, key: Tensor, key_places: Tensor, value: Tensor
) -> Tensor:
    """``softmax(query key^T / sqrt(width) + bias_features key_places^T) value``.

    The bias is appended to the features of queries and keys, so no kernel ever sees, and no memory
    ever holds, a bias for every pair; gradients flow through fused kernels that take no gradient
    for a mask.

    Args:
        query: ``[batch, heads, queries, width]``.
        bias_features: ``[batch, heads, queries, places]``.
        key: ``[batch, heads, keys, width]``.
        key_places: ``[keys, places]``.
        value: ``[batch, heads, keys, width]``.

    Returns:
        ``[batch, heads, queries, width]``.
    """
    batch, heads, _, width = query.shape
    scale = width**-0.5
    places = key_places.to(key.dtype).expand(batch, heads, -1, -1)
    if query.device.type != "cpu" or torch.compiler.is_compiling():
        # Fused kernels want one width for query, key and value, and a multiple of 8.
        extra = key_places.shape[1] + -(width + key_places.shape[1]) % 8
        pad = extra - key_places.shape[1]
        wide_query = torch.cat([query, F.pad(bias_features / scale, (0, pad))], -1)
        wide_key = torch.cat([key, F.pad(places, (0, pad))], -1)
        out = F.scaled_dot_product_attention(
            wide_query, wide_key, F.pad(value, (0, extra)), scale=scale
        )
        return out[..., :width]
    # In blocks of queries whose scores stay in the cache: 1.2 (fp32) to 3 times (bf16) as fast as
    # the fused CPU kernel, which would also have to pad the values.
    wide_query = torch.cat([query * scale, bias_features], -1)
    wide_key = torch.cat([key, places], -1).transpose(-1, -2)
    value = value.contiguous()
    rows = max(1, SCORES_AT_ONCE // key.shape[2])
    parts = [(part @ wide_key).softmax(-1) @ value for part in wide_query.split(rows, 2)]
    return parts[0] if len(parts) == 1 else torch.cat(parts, 2)


def depthwise_conv3d(features: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Depthwise 3 x 3 x 3 convolution, padding 1, spatial stride, channels last.

    Args:
        features: ``[batch, T, H, W, channels]``.
        weight: ``[channels, 1, 3, 3, 3]``.
        stride: of height and width; time is not strided.

    Returns:
        ``[batch, T, H', W', channels]``.
    """
    # On a CPU the 3D backward pass is a reference loop, 10 times slower than the 2D one.
    if features.device.type == "cpu" and not torch.compiler.is_compiling():
        if torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
            features, weight = features.to(dtype), weight.to(dtype)
        out: Tensor = _DepthwiseConv3d.apply(features, weight, stride)
        return out
    return _conv3d(features, weight, stride)


def _conv3d(features: Tensor, weight: Tensor, stride: int) -> Tensor:
    # The permuted views are the channels-last layout: nothing is moved.
    return F.conv3d(
        features.permute(0, 4, 1, 2, 3),
        weight,
        stride=(1, stride, stride),
        padding=1,
        groups=len(weight),
    ).permute(0, 2, 3, 4, 1)


class _DepthwiseConv3d(torch.autograd.Function):
    """Forward as ``F.conv3d``; backward as three 2D convolutions, one a step in time."""

    @staticmethod
    def forward(ctx: FunctionCtx, features: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.stride = stride  # type: ignore[attr-defined]
        return _conv3d(features, weight, stride)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        features, weight = ctx.saved_tensors
        stride, dtype = ctx.stride, features.dtype
        if dtype != torch.float32 and stride > 1:
            # No fast strided backward in 16 bits; these maps are small.
            features, weight, gradient = features.float(), weight.float(), gradient.float()
        frames = features.shape[1]
        grad_features = torch.zeros_like(features)
        grad_weight = torch.zeros_like(weight)
        for step in range(3):
            # Output frame t reads input frame t + step - 1 through slice ``step`` of the kernel.
            reads = slice(max(step - 1, 0), frames + min(step - 1, 0))
            writes = slice(max(1 - step, 0), frames + min(1 - step, 0))
            if reads.start >= reads.stop:
                continue
            source, target = features[:, reads], gradient[:, writes]
            to_source, to_weight, _ = torch.ops.aten.convolution_backward(
                target.flatten(0, 1).permute(0, 3, 1, 2),
                source.flatten(0, 1).permute(0, 3, 1, 2),
                weight[:, :, step],
                None,
                [stride, stride],
                [1, 1],
                [1, 1],
                False,
                [0, 0],
                len(weight),
                [ctx.needs_input_grad[0], ctx.needs_input_grad[1], False],
            )
            if to_source is not None:
                grad_features[:, reads] += to_source.permute(0, 2, 3, 1).view_as(source)
            if to_weight is not None:
                grad_weight[:, :, step] = to_weight
        return grad_features.to(dtype), grad_weight.to(dtype), None
