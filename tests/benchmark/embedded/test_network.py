"""From a skeleton of any rate and size to the network's input."""

import numpy as np
import pytest
import torch

from benchmark.embedded.network import (
    CHANNELS,
    FRAMES,
    RATE_HZ,
    EmbeddedNetwork,
    cut_windows,
    features,
    resample,
)


def walk(frames: int = FRAMES, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    places = rng.uniform(50, 200, (1, 17, 2)) + np.cumsum(rng.normal(0, 2, (frames, 17, 2)), axis=0)
    return np.concatenate([places, np.full((frames, 17, 1), 0.9)], axis=-1).astype(np.float32)


def test_a_skeleton_of_another_rate_is_read_between_its_frames():
    times = np.arange(60) / 30
    line = np.zeros((60, 17, 3), np.float32)
    line[..., 0], line[..., 2] = 10 * times[:, None], 1.0
    even, at = resample(line, times + 5)
    np.testing.assert_allclose(np.diff(at), 1 / RATE_HZ)
    np.testing.assert_allclose(even[:, 3, 0], 10 * (at - 5), atol=1e-4)


def test_a_moment_beside_a_lost_frame_shows_nobody():
    skeleton, times = walk(30), np.arange(30) / RATE_HZ
    skeleton[10:12] = [np.nan, np.nan, 0]
    even, _ = resample(skeleton, times)
    gone = (even[..., 2] == 0).all(axis=1)
    assert set(np.flatnonzero(gone)) >= {10, 11}
    assert gone.sum() <= 4
    assert np.isfinite(even[~gone]).all()


@pytest.mark.parametrize(
    ("frames", "starts"), [(1, [0]), (48, [0]), (60, [0, 12]), (65, [0, 12, 17])]
)
def test_windows_reach_to_the_end(frames, starts):
    windows, first = cut_windows(walk(frames), 12)
    assert first.tolist() == starts
    assert windows.shape == (len(starts), FRAMES, 17, 3)
    assert (windows[-1][: min(frames, FRAMES), :, 2] > 0).all()


def test_neither_place_nor_size_in_the_picture_matters():
    skeleton = torch.from_numpy(walk())[None]
    moved = skeleton * torch.tensor([2.5, 2.5, 1.0]) + torch.tensor([70.0, -30.0, 0.0])
    assert features(skeleton).shape == (1, CHANNELS, FRAMES)
    torch.testing.assert_close(features(skeleton), features(moved), atol=1e-3, rtol=1e-3)


def test_what_lost_frames_hold_does_not_matter():
    skeleton = torch.from_numpy(walk())[None].clone()
    skeleton[:, 20:30, :, 2] = 0
    other = skeleton.clone()
    other[:, 20:30, :, :2] = float("nan")
    torch.testing.assert_close(features(skeleton), features(other))
    nobody = torch.zeros(1, FRAMES, 17, 3)
    assert torch.isfinite(features(nobody)).all()
    network = EmbeddedNetwork(5, width=8).eval()
    assert torch.isfinite(network(torch.cat([other, nobody]))[0]).all()
