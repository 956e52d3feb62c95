"""torchvision's MViTv2 at any size, to compare ours with."""

from functools import partial

from torch import nn
from torchvision.models.video import mvit as reference

from benchmark.models.mvit import block_shapes


def torchvision_mvit(width: int, depth: int, frames: int, size: int, classes: int) -> nn.Module:
    """torchvision's MViT configured as its ``mvit_v2_s``, at any width, depth and input size."""
    shapes = block_shapes(width, depth, (frames // 2, size // 4, size // 4))
    return reference.MViT(
        spatial_size=(size, size),
        temporal_size=frames,
        block_setting=[
            reference.MSBlockConfig(
                num_heads=shape.heads,
                input_channels=shape.in_channels,
                output_channels=shape.out_channels,
                kernel_q=[3, 3, 3],
                kernel_kv=[3, 3, 3],
                stride_q=[1, shape.query_stride, shape.query_stride],
                stride_kv=[1, shape.key_stride, shape.key_stride],
            )
            for shape in shapes
        ],
        residual_pool=True,
        residual_with_cls_embed=False,
        rel_pos_embed=True,
        proj_after_attn=True,
        dropout=0.0,
        stochastic_depth_prob=0.0,
        num_classes=classes,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
    )
