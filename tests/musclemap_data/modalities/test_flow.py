"""The flow modality: quantisation, stored images, provenance, and the way from RGB to flow."""

import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from musclemap_data.modalities import flow, tvl1
from musclemap_data.modalities.settings import ExtractionSettings

FLOWS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(2)),
    elements=st.floats(-60, 60, width=32),
)
BOUNDS = st.floats(0.5, 100)


@given(FLOWS, BOUNDS)
def test_quantisation_is_off_by_half_a_step_at_most_within_the_bound(
    u: np.ndarray, bound_px: float
) -> None:
    values = flow.quantise(u, bound_px)
    assert values.dtype == np.uint8
    restored = flow.dequantise(values, bound_px)
    half_step = bound_px / 255
    clipped = np.clip(u, -bound_px, bound_px)
    assert np.abs(restored - clipped).max() <= half_step * 1.001 + 1e-5


@given(FLOWS, BOUNDS)
def test_image_round_trip_is_exact_after_the_first_quantisation(
    u: np.ndarray, bound_px: float
) -> None:
    image = flow.to_image(u, bound_px)
    restored = flow.from_image(image, bound_px)
    assert restored.shape == u.shape
    assert restored.dtype == np.float32
    np.testing.assert_array_equal(flow.to_image(restored, bound_px), image)


def test_quantise_rounds_to_the_nearest_step_and_clips() -> None:
    u = np.array([-25, -20, -0.08, 0.07, 0.16, 20, 1e9], np.float32)
    np.testing.assert_array_equal(flow.quantise(u), [0, 0, 127, 128, 129, 255, 255])


def test_image_has_u_above_v() -> None:
    u = np.zeros((3, 4, 2), np.float32)
    u[..., 0], u[..., 1] = 20, -20
    image = flow.to_image(u)
    assert image.shape == (6, 4)
    assert (image[:3] == 255).all()
    assert (image[3:] == 0).all()


def test_clipped_share_counts_values_beyond_the_bound() -> None:
    u = np.array([[[0, 20], [20.5, -30]]], np.float32)
    assert flow.clipped_share(u, 20) == 0.5
    assert flow.clipped_share(u[:0], 20) == 0


def test_provenance_is_json_and_names_every_parameter_of_the_schedule() -> None:
    settings = ExtractionSettings(flow_schedule="strict", flow_bound_px=10)
    stored = json.loads(json.dumps(flow.FLOW.describe(settings)))
    assert set(stored) == {"extractor", "version", "settings"}
    assert stored["settings"]["schedule"] == "strict"
    assert stored["settings"]["bound_px"] == 10
    own = {name: stored["settings"][name] for name in vars(tvl1.SCHEDULES["strict"])}
    assert tvl1.Schedule(**own) == tvl1.SCHEDULES["strict"]


def test_compute_flow_finds_a_shift_in_a_colour_clip() -> None:
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    wide = cv2.resize(coarse, (96, 72), interpolation=cv2.INTER_CUBIC)
    clip = np.stack([wide[4 + t : 52 + t, 4 + 2 * t : 68 + 2 * t] for t in range(3)])
    u = flow.compute_flow(clip, "fast")
    assert u.shape == (2, 48, 64, 2)
    assert u.dtype == np.float32
    inner = u[:, 8:-8, 8:-8]
    np.testing.assert_allclose(np.median(inner[..., 0]), -2, atol=0.1)
    np.testing.assert_allclose(np.median(inner[..., 1]), -1, atol=0.1)


def test_gray_is_bt_601() -> None:
    frames = np.random.default_rng(4).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    luma = frames @ np.array([0.299, 0.587, 0.114])
    assert np.abs(flow.gray_frames(frames) - luma).max() <= 0.51


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((2, 8, 8, 3), np.float32),
        np.zeros((2, 8, 8), np.uint8),
        np.zeros((2, 8, 8, 4), np.uint8),
        np.zeros((0, 8, 8, 3), np.uint8),
        np.zeros((2, 0, 8, 3), np.uint8),
    ],
)
def test_wrong_frames_are_refused_with_what_is_wanted(frames: np.ndarray) -> None:
    with pytest.raises(ValueError, match="frames_rgb"):
        flow.compute_flow(frames)


@pytest.mark.parametrize("bound_px", [0, -1, float("inf"), float("nan")])
def test_a_bound_that_is_no_bound_is_refused(bound_px: float) -> None:
    with pytest.raises(ValueError, match="bound_px"):
        flow.quantise(np.zeros((1, 1, 2), np.float32), bound_px)


def test_a_malformed_image_or_field_is_refused() -> None:
    with pytest.raises(ValueError, match="2H"):
        flow.from_image(np.zeros((3, 4), np.uint8))
    with pytest.raises(ValueError, match="H, W, 2"):
        flow.to_image(np.zeros((3, 4), np.float32))
