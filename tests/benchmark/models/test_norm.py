"""Batch statistics do not depend on how a batch is shared out among processes."""

import os
import socket
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmark.models import MODELS
from benchmark.models.norm import MaskedBatchNorm, SharedBatchNorm, share_batch_statistics
from benchmark.settings import Settings


def test_the_conversion_for_gpus_leaves_masked_norms_alone():
    """``convert_sync_batchnorm`` turned them into layers whose ``forward`` takes no mask."""
    for name in ("stgcn", "ctrgcn", "hdgcn", "transm3e"):
        model = MODELS[name](Settings.from_preset("tiny"))
        masked = [type(m) for m in model.modules() if isinstance(m, MaskedBatchNorm)]
        assert masked
        converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        assert [type(m) for m in converted.modules() if isinstance(m, MaskedBatchNorm)] == masked


def test_a_shared_norm_is_the_plain_one_in_one_process():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv3d(3, 5, 1), nn.BatchNorm3d(5))
    shared = nn.Sequential(nn.Conv3d(3, 5, 1), nn.BatchNorm3d(5))
    shared.load_state_dict(plain.state_dict())
    share_batch_statistics(shared, torch.device("cpu"))
    assert isinstance(shared[1], SharedBatchNorm)
    clips = torch.randn(4, 3, 2, 6, 6) * 3 + 1
    for training in (True, False):
        plain.train(training)
        shared.train(training)
        torch.testing.assert_close(shared(clips), plain(clips), atol=1e-5, rtol=1e-5)
    for key, value in plain.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            torch.testing.assert_close(shared.state_dict()[key], value)


def _case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(5, 4, 6, 17, generator=generator) * 2 + 1
    mask = (torch.rand(5, 1, 6, 17, generator=generator) > 0.2).float()
    mask[3:] *= (torch.rand(2, 1, 6, 17, generator=generator) > 0.7).float()  # many missing
    wanted = torch.randn(5, 4, 6, 17, generator=generator)
    return features, mask, wanted


def _part_of_two(rank: int, port: int, out: Path) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    features, mask, wanted = (each[:3] if rank == 0 else each[3:] for each in _case())
    features.requires_grad_()
    norm = MaskedBatchNorm(4)
    result = norm(features, mask)
    (result * wanted).sum().backward()
    state = {"result": result.detach(), "gradient": features.grad, "mean": norm.running_mean}
    torch.save(state | {"variance": norm.running_var}, out / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_with_different_gaps_give_what_one_gives(tmp_path):
    features, mask, wanted = _case()
    features.requires_grad_()
    norm = MaskedBatchNorm(4)
    result = norm(features, mask)
    (result * wanted).sum().backward()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_part_of_two, args=(port, tmp_path), nprocs=2, join=True)
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    close = {"atol": 1e-5, "rtol": 1e-5}
    torch.testing.assert_close(torch.cat([p["result"] for p in parts]), result.detach(), **close)
    torch.testing.assert_close(torch.cat([p["gradient"] for p in parts]), features.grad, **close)
    for part in parts:
        torch.testing.assert_close(part["mean"], norm.running_mean, **close)
        torch.testing.assert_close(part["variance"], norm.running_var, **close)
