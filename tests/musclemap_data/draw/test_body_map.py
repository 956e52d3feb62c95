"""The body map: every region is where it belongs, and its colour tells its value."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musclemap_data.catalog import GRADES, annotations_dir, load_activities, load_muscles
from musclemap_data.draw.body_map import activity_pictures, body_map_svg, region_values
from musclemap_data.draw.body_picture import body_map_figure, body_map_png
from musclemap_data.draw.body_shapes import CENTRES, HEIGHT, WIDTH, outline, polygon, shapes
from musclemap_data.draw.colours import ACTIVE_EDGE, INACTIVE_COLOUR, region_colour

SVG = "{http://www.w3.org/2000/svg}"
SLUGS = [muscle.slug for muscle in load_muscles()]


def paths(svg: str) -> dict[str, ET.Element]:
    """Region paths by id."""
    root = ET.fromstring(svg)  # noqa: S314
    return {e.attrib["id"]: e for e in root.iter(f"{SVG}path") if "data-region" in e.attrib}


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2: what is left in grey print."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_every_region_is_in_the_views_that_its_side_names() -> None:
    for muscle in load_muscles():
        seen = [view for view in ("front", "back") if muscle.slug in shapes()[view]]
        assert seen == (["front", "back"] if muscle.side == "both" else [muscle.side]), muscle.slug
    assert set(shapes()["front"]) | set(shapes()["back"]) == set(SLUGS)


def test_regions_lie_inside_the_body_and_apart_from_each_other() -> None:
    import cv2

    def mask(curve: np.ndarray) -> np.ndarray:
        image = np.zeros((round(HEIGHT) * 4, 1000), np.uint8)
        cv2.fillPoly(image, [np.rint((polygon(curve) + [125, 0]) * 4).astype(np.int32)], 1)
        return image

    body = mask(outline())
    for view, regions in shapes().items():
        taken = np.zeros_like(body)
        for slug, curves in regions.items():
            for curve in curves:
                shape = mask(curve)
                assert shape.sum() > 500, slug
                assert (shape & ~body & 1).sum() <= 0.01 * shape.sum(), (view, slug)
                assert (shape & taken).sum() <= 0.02 * shape.sum(), (view, slug)
                taken |= shape


def test_left_and_right_are_mirrored() -> None:
    for regions in shapes().values():
        for curves in regions.values():
            points = np.concatenate(curves)
            mirrored = points * [-1, 1]
            order = [np.lexsort(p.round(6).T) for p in (points, mirrored)]
            np.testing.assert_allclose(points[order[0]], mirrored[order[1]])


def test_anatomy_from_head_to_foot() -> None:
    def height(view: str, slug: str) -> float:
        return float(np.concatenate(shapes()[view][slug])[:, 1].mean())

    front = ["neck_and_head", "chest", "upper_abdominis", "lower_abdominis", "inner_thigh"]
    front += ["quadriceps", "feet_ankles"]
    back = ["neck_and_head", "upper_back", "latissimus", "lower_back", "gluteus", "hamstring"]
    back += ["calves", "feet_ankles"]
    for view, order in (("front", front), ("back", back)):
        heights = [height(view, slug) for slug in order]
        assert heights == sorted(heights)
    assert height("front", "biceps") < height("front", "forearms") < height("front", "wrists")


def test_svg_has_a_path_for_each_region_and_tells_its_value() -> None:
    found = paths(body_map_svg({"chest": 0.8, "shoulder": 0.3}, title="a < b & c"))
    regions = {path.attrib["data-region"] for path in found.values()}
    assert regions == set(SLUGS) <= set(found)
    assert found["chest"].attrib["fill"] == region_colour(0.8)
    assert found["chest"].attrib["stroke"] == ACTIVE_EDGE
    assert found["chest"].findtext(f"{SVG}title") == "chest: 80%"
    assert found["shoulder-back"].attrib["fill"] == found["shoulder"].attrib["fill"]
    assert "stroke" not in found["shoulder"].attrib and "fill" not in found["wrists"].attrib


def test_svg_is_accessible_and_whole() -> None:
    svg = body_map_svg(np.linspace(0, 1, 20), title="a < b & c", id_prefix="x-")
    root = ET.fromstring(svg)  # noqa: S314
    assert root.attrib["role"] == "img"
    title = root.find(f"{SVG}title")
    assert title is not None and root.attrib["aria-labelledby"] == title.attrib["id"]
    assert title.text is not None and title.text.startswith("a < b & c: muscle regions ")
    ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert len(set(ids)) == len(ids) and all(i.startswith("x-") for i in ids)
    targets = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)
    assert targets and all((a or b) in ids for a, b in targets)
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "") and "<script" not in svg
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert "lower abdominis 53%" in texts and "wrists 100%" in texts
    assert not any((text or "").startswith("chest") for text in texts)


def test_labels_do_not_overlap_and_stay_inside() -> None:
    root = ET.fromstring(body_map_svg(np.ones(20)))  # noqa: S314
    left, top, width, height = (float(v) for v in root.attrib["viewBox"].split())
    labels = [e for e in root.iter(f"{SVG}text") if e.text in {m.name for m in load_muscles()}]
    assert len(labels) == 20
    for anchor in ("start", "end"):
        ys = sorted(float(e.attrib["y"]) for e in labels if e.attrib["text-anchor"] == anchor)
        assert min(np.diff(ys)) > 14 and ys[0] > top + 8 and ys[-1] < top + height
    # 0.62 em is a wide average for a sans serif; the longest label is the one that must fit.
    for element in labels:
        room = abs(
            float(element.attrib["x"])
            - (left if element.attrib["text-anchor"] == "end" else left + width)
        )
        assert len(f"{element.text} 100%") * 12.5 * 0.62 <= room + 8


def test_colour_scale_darkens_evenly_in_one_hue() -> None:
    assert region_colour(0) == INACTIVE_COLOUR
    colours = [region_colour(v) for v in np.linspace(0.001, 1, 41)]
    light = [luminance(colour) for colour in colours]
    assert all(a > b for a, b in pairwise(light))
    assert light[0] > 0.65 and light[-1] < 0.08
    channels = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours], float)
    assert (channels[:, 0] > channels[:, 1]).all() and (channels[:, 1] >= channels[:, 2]).all()
    # Active and not active differ by more than 4.5 : 1, so they do in print and for every eye.
    ratio = (luminance(INACTIVE_COLOUR) + 0.05) / (luminance(region_colour(1)) + 0.05)
    assert ratio > 4.5


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=20, max_size=20))
def test_any_values_give_valid_pictures(values: list[float]) -> None:
    found = paths(body_map_svg(values))
    for slug, value in zip(SLUGS, values, strict=True):
        fill = found[slug].attrib.get("fill", INACTIVE_COLOUR)
        assert fill == region_colour(value)


def test_wrong_values_are_refused() -> None:
    for values, message in (
        ({"tail": 1.0}, "no muscle region tail"),
        ([0.0] * 19, "got 19 values"),
        ({"chest": 1.2}, "chest is 1.2; values lie in"),
        ({"chest": float("nan")}, "chest is nan"),
        ([-0.1] + [0.0] * 19, "neck_and_head is -0.1"),
    ):
        with pytest.raises(ValueError, match=message):
            body_map_svg(values)  # type: ignore[arg-type]
    assert region_values({})["chest"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("height", [160, 480])
def test_png_shows_each_region_where_the_svg_does(height: int) -> None:
    blank = body_map_png(np.zeros(20), height)
    assert blank.shape == (height, round(height * WIDTH / HEIGHT), 3) and blank.dtype == np.uint8
    for slug in SLUGS:
        image = body_map_png({slug: 1.0}, height)
        changed = (image.astype(int) - blank).any(axis=2)
        ys, xs = np.nonzero(changed)
        for view, regions in shapes().items():
            drawn = [polygon(curve) + [CENTRES[view], 0] for curve in regions.get(slug, [])]
            spots = np.concatenate(drawn) if drawn else []
            inside = xs < (WIDTH / 2 * height / HEIGHT)
            here = inside if view == "front" else ~inside
            assert here.any() == (len(spots) > 0), (slug, view)
            if len(spots):
                box = np.array([xs[here].min(), xs[here].max(), ys[here].min(), ys[here].max()])
                low, high = spots.min(0) * height / HEIGHT, spots.max(0) * height / HEIGHT
                np.testing.assert_allclose(box, [low[0], high[0], low[1], high[1]], atol=3)
    np.testing.assert_array_equal(blank, body_map_png({}, height))
    with pytest.raises(ValueError, match="height_px is 3"):
        body_map_png({}, 3)


def test_committed_pictures_are_what_the_table_gives() -> None:
    folder = annotations_dir().parent / "docs" / "activities"
    pictures = activity_pictures(load_activities())
    assert len(pictures) == 135
    assert {path.name for path in folder.iterdir()} == set(pictures)
    for name, text in pictures.items():
        assert (folder / name).read_text(encoding="utf-8") == text, "run annotations.derive"
        assert len(text) < 12_500
    document = (folder.parent / "activities.md").read_text(encoding="utf-8")
    assert set(re.findall(r'src="activities/([^"]+)"', document)) == set(pictures)


def test_grades_have_three_shades_and_every_one_of_them_an_edge_and_a_name() -> None:
    values = {"chest": 1.0, "triceps": 0.67, "obliques": 0.34}
    root = ET.fromstring(body_map_svg(values))  # noqa: S314
    paths = {p.get("data-region"): p for p in root.iterfind(".//{*}path") if p.get("data-region")}
    fills = {paths[slug].get("fill") for slug in values}
    assert len(fills) == 3 and INACTIVE_COLOUR not in fills
    assert {paths[slug].get("stroke") for slug in values} == {ACTIVE_EDGE}
    assert paths["biceps"].get("stroke") is None
    texts = {text.text for text in root.iterfind(".//{*}text")}
    # The shade says the grade, the legend names it: with it, names would not fit the margin.
    assert {"chest", "triceps", "obliques"} <= texts
    assert {"none", "stabiliser", "synergist", "prime mover"} <= texts
    probabilities = ET.fromstring(body_map_svg({"chest": 0.9, "obliques": 0.34}))  # noqa: S314
    texts = {text.text for text in probabilities.iterfind(".//{*}text")}
    assert "chest 90%" in texts and not any("obliques" in (text or "") for text in texts)
    # As pixels: a stabiliser has its dark edge there too.
    stabiliser, unsure = (body_map_png({"obliques": value}) for value in (0.34, 0.35))
    assert (stabiliser != unsure).any()


def test_regions_may_be_called_as_in_a_gym() -> None:
    svg = body_map_svg({"lower_abdominis": 1.0, "feet_ankles": 0.67}, plain=True)
    assert ">lower abs<" in svg and "ankles and feet: synergist" in svg
    assert "lower abdominis" not in svg


def test_the_picture_of_grades_names_them_and_cuts_no_name() -> None:
    """Every margin stays white: a name that is too long would be cut there."""
    graded = body_map_figure(load_activities()["battle_ropes"].grades, height_px=330)
    assert (graded[:, :3] == 255).all() and (graded[:, -3:] == 255).all()
    # Four boxes in the legend, in the shades of the grades, none of which a scale shows so wide.
    legend = graded[int(graded.shape[0] * 0.93) :]
    for grade in GRADES[1:]:
        shade = np.array([int(region_colour(grade)[i : i + 2], 16) for i in (1, 3, 5)])
        assert (np.abs(legend.astype(int) - shade).max(axis=2) <= 2).sum() > 40, grade
