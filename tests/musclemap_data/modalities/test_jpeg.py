"""A part of a JPEG decodes to the bytes that the whole one has there."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st

from musclemap_data.modalities.jpeg import RESTART_MCUS, Box, cut_out, encode_jpeg

SAMPLINGS = [
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
]


def picture(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Coarse noise made large, ``uint8 [h, w, channels]``: flat and busy places."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 14, channels), dtype=np.uint8)
    large = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return large.reshape(height, width, channels)


def encoded(image: np.ndarray, interval: int, *options: int) -> np.ndarray:
    options = (cv2.IMWRITE_JPEG_RST_INTERVAL, interval, *options)
    return cv2.imencode(".jpg", image, options)[1].ravel()


def decoded(jpeg: np.ndarray, channels: int) -> np.ndarray:
    return simplejpeg.decode_jpeg(jpeg, colorspace="RGB" if channels == 3 else "GRAY")


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_part_decodes_as_the_whole_does_whatever_the_picture(data):
    height, width = data.draw(st.integers(1, 150)), data.draw(st.integers(1, 150))
    channels = data.draw(st.sampled_from([3, 3, 1]))
    options = [cv2.IMWRITE_JPEG_OPTIMIZE, data.draw(st.integers(0, 1))]
    if channels == 3:
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, data.draw(st.sampled_from(SAMPLINGS))]
    image = picture(height, width, channels, seed=data.draw(st.integers(0, 9)))
    interval = data.draw(st.integers(0, 17))
    jpegs = [encoded(each, interval, *options) for each in (image, 255 - image)]
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    box = Box(
        top, left, data.draw(st.integers(1, height - top)), data.draw(st.integers(1, width - left))
    )
    parts, part_top, part_left = cut_out(jpegs, box)
    for jpeg, part in zip(jpegs, parts, strict=True):
        whole, cut = decoded(jpeg, channels), decoded(part, channels)
        rows, columns = (
            slice(start, start + length)
            for start, length in ((top - part_top, box.height), (left - part_left, box.width))
        )
        assert np.array_equal(
            cut[rows, columns], whole[top : top + box.height, left : left + box.width]
        )


@pytest.mark.parametrize(("height", "width"), [(256, 456), (256, 340), (466, 256), (255, 455)])
def test_a_training_crop_leaves_half_of_a_frame_undecoded(height, width):
    """Of the sizes that videos have, 29, 22 and 16 MCUs wide: a segment may span two rows."""
    jpeg = np.frombuffer(encode_jpeg(picture(height, width), 90), np.uint8)
    box = Box(33, 21, 200, 200)
    (part,), top, left = cut_out([jpeg], box)
    assert len(part) < len(jpeg)
    part_height, part_width = simplejpeg.decode_jpeg_header(part)[:2]
    assert part_height * part_width < 1.35 * box.height * box.width
    whole, cut = decoded(jpeg, 3), decoded(part, 3)
    inside = cut[box.top - top :, box.left - left :][: box.height, : box.width]
    assert np.array_equal(inside, whole[33:233, 21:221])


def test_pictures_are_the_same_with_and_without_restart_markers():
    image = picture(131, 203)
    options = [cv2.IMWRITE_JPEG_QUALITY, 90]
    plain = encoded(np.ascontiguousarray(image[..., ::-1]), 0, *options)
    stored = np.frombuffer(encode_jpeg(image, 90), np.uint8)
    assert np.array_equal(decoded(stored, 3), decoded(plain, 3))
    assert b"\xff\xdd\x00\x04\x00" + bytes([RESTART_MCUS]) in stored.tobytes()
    assert b"\xff\xdd" not in plain.tobytes()[:700]
    grey = np.ascontiguousarray(image[..., :1])
    stored = np.frombuffer(encode_jpeg(grey, 90), np.uint8)
    assert np.array_equal(decoded(stored, 1), decoded(encoded(grey, 0, *options), 1))


def test_what_cannot_be_cut_is_given_back():
    box = Box(0, 0, 40, 40)
    stored = np.frombuffer(encode_jpeg(picture(128, 208), 90), np.uint8)
    other = np.frombuffer(encode_jpeg(picture(128, 192), 90), np.uint8)
    assert len(cut_out([stored, stored], box)[0][1]) < len(stored)
    image = picture(128, 208)
    for jpegs in (
        [stored, other],  # of another size
        [stored, stored[: len(stored) // 2]],
        [stored[:20]],
        [stored[:0]],
        [np.zeros(5000, np.uint8)],
        [encoded(image, 2, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)],
        [encoded(image, 0)],
        [np.frombuffer(simplejpeg.encode_jpeg(image), np.uint8)],
    ):
        assert cut_out(jpegs, box) == (jpegs, 0, 0)
    assert cut_out([stored], Box(0, 0, 128, 208))[0][0] is stored
    assert cut_out([stored], Box(100, 0, 40, 40))[0][0] is stored  # it is no part of the picture


@settings(max_examples=300, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, 699), st.integers(0, 255)), min_size=1, max_size=3)
)
def test_a_damaged_header_is_left_to_the_decoder(changes):
    jpeg = np.frombuffer(encode_jpeg(picture(128, 208), 90), np.uint8).copy()
    for place, value in changes:
        jpeg[place] = value
    cut_out([jpeg], Box(16, 16, 40, 40))
