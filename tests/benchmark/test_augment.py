"""One spatial augmentation for frames, flow and joints."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional

from benchmark import augment
from musclemap_data.modalities.jpeg import Box


def marker_frames(x: int, y: int, height: int = 96, width: int = 128) -> torch.Tensor:
    """Two black frames with a white block of 5 px around (x, y)."""
    frames = torch.zeros(2, 3, height, width, dtype=torch.uint8)
    frames[:, :, y - 2 : y + 3, x - 2 : x + 3] = 255
    return frames


@pytest.mark.parametrize("policy", ["jitter", "resized"])
@pytest.mark.parametrize("seed", range(8))
def test_frames_flow_and_joints_move_together(tiny, policy, seed):
    """A joint drawn into the frame is still under its coordinates after the augmentation."""
    height, width, size = 96, 128, 64
    settings = tiny(
        crop_size=size,
        jitter_min=66,
        jitter_max=80,
        test_short_side=66,
        crop_policy=policy,
        resized_area_min=0.6,
    )
    rng = np.random.default_rng(seed)
    geometry = augment.train_geometry(height, width, settings, rng)
    x = round(geometry.left_px + 0.4 * geometry.width_px)
    y = round(geometry.top_px + 0.6 * geometry.height_px)
    joints = np.zeros((2, 1, 17, 3), np.float32)
    joints[:, :, 9] = (x, y, 1.0)  # the left wrist

    frames = augment.crop_frames(marker_frames(x, y), geometry, height, width, size)
    halved = augment.crop_frames(marker_frames(x, y)[:, :, ::2, ::2], geometry, height, width, size)
    flow = augment.crop_flow(marker_frames(x, y)[:, :2], geometry, height, width, size)
    moved = augment.crop_skeleton(joints, geometry, size)[0, 0, 10 if geometry.flip else 9]

    bright_flow = 255 - flow[:, :1] if geometry.flip else flow[:, :1]
    for picture in (frames, halved, bright_flow):
        weight = picture[0, 0].double()
        weight[weight < 128] = 0
        centre_y = (weight.sum(1) @ torch.arange(size).double()) / weight.sum()
        centre_x = (weight.sum(0) @ torch.arange(size).double()) / weight.sum()
        assert abs(centre_x - moved[0]) < 1.6
        assert abs(centre_y - moved[1]) < 1.6


def test_a_flip_swaps_sides_and_negates_horizontal_flow():
    geometry = augment.Geometry(0, 0, 32, 32, flip=True)
    joints = np.zeros((1, 1, 17, 3), np.float32)
    joints[0, 0, :, 0] = np.arange(17)
    joints[0, 0, :, 2] = 1
    moved = augment.crop_skeleton(joints, geometry, 32)[0, 0]
    # Names of COCO-17 from 1 on come in pairs left, right; 0 is the nose.
    assert moved[0, 0] == 31 - 0
    assert moved[9, 0] == 31 - 10
    assert moved[10, 0] == 31 - 9
    flow = torch.zeros(1, 2, 32, 32, dtype=torch.uint8)
    flow[:, 0], flow[:, 1] = 200, 90
    flipped = augment.crop_flow(flow, geometry, 32, 32, 32)
    assert (flipped[:, 0] == 55).all()
    assert (flipped[:, 1] == 90).all()
    twice = augment.crop_skeleton(augment.crop_skeleton(joints, geometry, 32), geometry, 32)
    np.testing.assert_allclose(twice, joints, atol=1e-4)


def test_the_test_crop_is_the_centre(tiny):
    geometry = augment.centre_geometry(48, 64, tiny())
    assert geometry.height_px == pytest.approx(48 * 32 / 36)
    assert geometry.top_px + geometry.height_px / 2 == pytest.approx(24)
    assert geometry.left_px + geometry.width_px / 2 == pytest.approx(32)
    assert not geometry.flip


@pytest.mark.parametrize("policy", ["jitter", "resized"])
@pytest.mark.parametrize(("height", "width"), [(20, 300), (300, 20), (36, 36), (17, 19)])
def test_boxes_lie_inside_odd_frames(tiny, policy, height, width):
    settings = tiny(crop_policy=policy)
    for seed in range(50):
        box = augment.train_geometry(height, width, settings, np.random.default_rng(seed))
        assert box.top_px >= 0
        assert box.left_px >= 0
        assert box.top_px + box.height_px <= height + 1e-9
        assert box.left_px + box.width_px <= width + 1e-9
        frames = torch.zeros(1, 3, height, width, dtype=torch.uint8)
        assert augment.crop_frames(frames, box, height, width, 32).shape == (1, 3, 32, 32)


@pytest.mark.parametrize("count", [4, 5])
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("pictures", [False, True])
@pytest.mark.parametrize("size", [6, 9])
def test_cut_frames_do_not_depend_on_how_they_lie_in_memory(count, channels, pictures, size):
    frames = torch.randint(0, 256, (count, channels, 12, 14), dtype=torch.uint8)
    given = frames.clone()
    if pictures:  # as JPEGs are decoded: [T, H, W, C]
        given = frames.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    one_by_one = [
        functional.resized_crop(each, 2, 3, 9, 9, [size, size], antialias=True) for each in frames
    ]
    cut = torch.stack(one_by_one)
    for flip, expected in ((False, cut), (True, cut.flip(-1))):
        found = augment.cut_frames(given, Box(2, 3, 9, 9), flip, size)
        assert torch.equal(found, expected)
        planes = torch.empty(channels, count, size, size, dtype=torch.uint8)
        augment.copy_planes(found.transpose(0, 1), planes)
        assert torch.equal(planes, expected.transpose(0, 1))
    assert torch.equal(given, frames)
    given.zero_()
    assert torch.equal(found, expected)  # memory of its own


def test_randaugment_treats_all_frames_alike_and_keeps_the_global_generator(tiny):
    settings = tiny(randaugment_ops=4)
    frame = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    frames = frame.repeat(5, 1, 1, 1)
    before = torch.random.get_rng_state()
    changed = 0
    for seed in range(20):
        result = augment.randaugment(frames, settings, np.random.default_rng(seed))
        again = augment.randaugment(frames, settings, np.random.default_rng(seed))
        assert torch.equal(result, again)
        assert (result == result[:1]).all()
        changed += not torch.equal(result, frames)
    assert changed > 5
    assert torch.equal(before, torch.random.get_rng_state())
    assert augment.randaugment(frames, tiny(randaugment_ops=0), np.random.default_rng()) is frames


def test_erased_boxes_come_at_their_rate_and_fit(tiny):
    rng = np.random.default_rng(0)
    boxes = [augment.erased_box(tiny(erasing=0.25), rng) for _ in range(2000)]
    share = sum(box is not None for box in boxes) / len(boxes)
    assert 0.2 < share < 0.3
    for box in filter(None, boxes):
        assert 0 <= box[0].start < box[0].stop <= 32
        assert 0 <= box[1].start < box[1].stop <= 32
    assert augment.erased_box(tiny(erasing=0.0), rng) is None
