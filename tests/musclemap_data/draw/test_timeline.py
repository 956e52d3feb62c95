"""Pictures of a prediction: what is drawn is what the numbers say."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import cv2
import numpy as np
import pytest

from musclemap_data.catalog import load_muscles
from musclemap_data.draw.body_map import LABEL_FROM, body_map_svg, place_labels
from musclemap_data.draw.body_picture import body_map_figure
from musclemap_data.draw.canvas import write_png
from musclemap_data.draw.colours import region_colour, rgb
from musclemap_data.draw.timeline import (
    HATCH_COLOUR,
    NO_PERSON_COLOUR,
    clock,
    over_time,
    timeline_figure,
)

NAMES = [muscle.name for muscle in load_muscles()]
WINDOWS = [(0.0, 2.0), (1.0, 3.0), (2.0, 4.0)]


def scores(**of: list[float]) -> np.ndarray:
    """``[3, 20]``: 10%, but for the named regions."""
    values = np.full((3, len(NAMES)), 0.1)
    for name, course in of.items():
        values[:, NAMES.index(name)] = course
    return values


def test_overlapping_windows_are_averaged_where_they_overlap():
    edges, course = over_time(WINDOWS, np.array([[0.0], [0.6], [1.0]]), [True, True, True])
    assert edges.tolist() == [0, 1, 2, 3, 4]
    assert course[:, 0] == pytest.approx([0.0, 0.3, 0.8, 1.0])
    _, course = over_time(WINDOWS, np.array([[0.0], [0.6], [1.0]]), [True, False, False])
    assert course[:2, 0].tolist() == [0.0, 0.0]
    assert np.isnan(course[2:]).all()


def test_the_timeline_shows_each_region_at_its_time():
    values = scores(chest=[0.9, 0.9, 0.2])
    means = values.mean(axis=0)
    picture = timeline_figure(WINDOWS, values, means, [True] * 3, [1.0] * 3, 0.5)
    _, course = over_time(WINDOWS, values, [True] * 3)
    plot = range(176, 1200 - 74)
    for second in range(4):
        x = plot[round((second + 0.5) / 4 * len(plot))]
        wanted = rgb(region_colour(float(course[second, NAMES.index("chest")])))
        assert picture[64 + 13, x].tolist() == list(wanted)  # the first row: the highest mean
        assert picture[64 + 10 * 27 + 13, x].tolist() == list(rgb(region_colour(0.1)))
    framed = np.argwhere((picture[64 + 4] == rgb("#4a120c")).all(axis=1))[:, 0]
    assert framed.min() == pytest.approx(176, abs=2)
    assert framed.max() == pytest.approx(176 + 0.75 * len(plot), abs=3)  # 0.55 in the third second


def test_time_without_a_person_is_hatched_in_the_timeline():
    values = scores()
    picture = timeline_figure(
        WINDOWS, values, values.mean(axis=0), [True, False, False], [1.0, 0.2, 0.0], 0.5
    )
    row = picture[64 + 13]
    assert row[300].tolist() == list(rgb(region_colour(0.1)))
    hatched = picture[64 + 4 : 64 + 23, 800:1000]
    assert np.median(hatched, axis=(0, 1)).tolist() == list(rgb(NO_PERSON_COLOUR))
    assert (hatched.max(axis=2) < 230).any()
    assert hatched.min() >= min(rgb(HATCH_COLOUR))  # no red of any value


def test_regions_are_named_from_the_threshold_on():
    values = scores(chest=[0.42] * 3, calves=[0.3] * 3).mean(axis=0)
    assert [label.text for label in place_labels(values, 0.4)] == ["chest 42%"]
    assert [label.text for label in place_labels(values, 0.25)] == ["chest 42%", "calves 30%"]
    assert place_labels(values, LABEL_FROM) == []
    svg = body_map_svg(values, label_from=0.4)
    said = "".join(ET.fromstring(svg).itertext())  # noqa: S314
    assert "chest 42%" in said
    assert "calves 30%" not in said.replace("calves: 30%", "")
    assert "active from 40%" in said
    assert "active from" not in body_map_svg(values)


def test_the_body_map_picture_has_a_name_beside_each_active_region():
    values = scores(chest=[0.42] * 3, calves=[0.3] * 3).mean(axis=0)

    def ink(label_from: float) -> tuple[int, int]:
        """Dark pixels in the left and the right margin, beside the two figures."""
        picture = body_map_figure(values, label_from=label_from, height_px=470)
        beside = picture[60:480].min(axis=2) < 100
        return int(beside[:, :140].sum()), int(beside[:, -140:].sum())

    assert ink(0.9) == (0, 0)
    left, right = ink(0.4)
    assert left > 100
    assert right == 0
    assert ink(0.25)[1] > 100  # calves are seen from behind


def test_any_title_can_be_asked_for(tmp_path):
    values = scores()
    means, title = values.mean(axis=0), "Knie é 深蹲 $\\frac$"  # no letter does harm
    pictures = {
        "timeline.png": timeline_figure(
            WINDOWS, values, means, [True] * 3, [1.0] * 3, 0.5, title=title
        ),
        "body_map.png": body_map_figure(means, title=title),
    }
    for name, picture in pictures.items():
        write_png(tmp_path / name, picture)
        assert (cv2.imread(str(tmp_path / name))[..., ::-1] == picture).all()
        assert picture[8:32].min() < 100  # the title is there
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(pictures)
    assert pictures["timeline.png"].shape[1] == 1200
    assert title in body_map_svg(means, title=title)


def test_clock():
    assert clock(65.25) == "1:05"
    assert clock(65.24, tenths=True) == "1:05.2"
    assert clock(0.3, tenths=True) == "0:00.3"
