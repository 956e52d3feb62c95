"""The house as the folders promise it: arrows of knowledge that point one way, and small rooms.

``docs/architecture.md`` shows what is checked here. All of it is computed from the source.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.bench import draw_architecture
from tests.imports import REPOSITORY, Import, find_circle, imports, room, room_graph, source_files

FLOORS = {"cli": 3, "annotations": 3, "benchmark": 2, "musclemap_data": 1}
"""Nobody imports from a floor above, nor from a neighbour on the same floor."""

BENCHMARK_MAY_USE = {
    f"musclemap_data.{name}"
    for name in ["catalog", "draw", "errors", "files", "labels", "modalities", "shards"]
    + ["skeleton", "splits", "stored", "templates"]
}
"""The rooms of ``musclemap_data`` that every part of ``benchmark`` may stand on."""

STATED_EXCEPTIONS = {
    ("benchmark.app", "musclemap_data.browse"),  # the look of its pages
    ("benchmark.app", "musclemap_data.local_web"),
    ("benchmark.commands", "musclemap_data.local_web"),
    ("benchmark.app", "musclemap_data.movement"),  # what is measured beside what is recognised
    ("benchmark.predict", "musclemap_data.extract"),  # a video of the user's own becomes rows
    ("benchmark.embedded", "musclemap_data.extract"),  # it is scored on videos, without a data set
    ("benchmark.embedded", "musclemap_data.sample"),  # it is trained on the sample's motion
    ("benchmark.commands", "musclemap_data.commands"),  # the options that all verbs share
    ("benchmark.commands", "musclemap_data.hub"),  # a run is sent as a data set is
    ("benchmark.commands", "musclemap_data.hub_access"),
    ("benchmark.commands", "musclemap_data.segment"),  # the embedded model names what is found
    ("benchmark.commands", "musclemap_data.sample"),  # quickstart shows everything on the sample
}

LONG_FUNCTIONS: dict[str, str] = {}
"""Functions that may be longer than ``MAX_LINES``, each with the reason."""

MAX_LINES = 80


def package(module: str) -> str:
    return module.partition(".")[0]


def file_graph(*, late: bool) -> dict[str, set[str]]:
    graph: dict[str, set[str]] = {}
    for each in imports():
        if late or not each.late:
            graph.setdefault(each.importer, set()).add(each.imported)
    return graph


def listed(found: list[Import]) -> str:
    return "\n".join(str(each) for each in found)


def test_no_file_imports_itself_by_a_detour():
    assert not find_circle(file_graph(late=False))


def test_no_import_inside_a_function_hides_a_circle():
    assert not find_circle(file_graph(late=True))


def test_no_room_imports_itself_by_a_detour():
    assert not find_circle(room_graph())


def test_nobody_imports_from_a_floor_above():
    upward = [
        each
        for each in imports()
        if package(each.importer) != package(each.imported)
        and FLOORS[package(each.importer)] <= FLOORS[package(each.imported)]
    ]
    assert not upward, listed(upward)


def test_nobody_stands_on_the_public_face():
    """``import musclemap_data`` is for users: inside, a name comes from the file it lives in."""
    face = [each for each in imports() if each.imported in FLOORS and each.imported != "cli"]
    assert not face, listed(face)


def test_annotation_scripts_stand_on_the_data_package_alone():
    elsewhere = [
        each
        for each in imports()
        if package(each.importer) == "annotations"
        and package(each.imported) not in {"annotations", "musclemap_data"}
    ]
    assert not elsewhere, listed(elsewhere)


def test_the_benchmark_uses_only_its_part_of_the_data_package():
    beyond = [
        each
        for each in imports()
        if package(each.importer) == "benchmark"
        and package(each.imported) == "musclemap_data"
        and room(each.imported) not in BENCHMARK_MAY_USE
        and (room(each.importer), room(each.imported)) not in STATED_EXCEPTIONS
    ]
    assert not beyond, listed(beyond)


def test_the_list_of_what_the_benchmark_may_use_has_no_dead_entry():
    used = {
        room(each.imported)
        for each in imports()
        if package(each.importer) == "benchmark" and package(each.imported) == "musclemap_data"
    }
    pairs = {(room(each.importer), room(each.imported)) for each in imports()}
    assert not BENCHMARK_MAY_USE - used
    assert not STATED_EXCEPTIONS - pairs


def test_the_command_line_does_no_work_of_its_own():
    lines = source_files()["cli"].read_text().count("\n")
    assert lines < 100


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for module, file in source_files().items():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{module}.{node.name}", node


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from ``def`` to the end, less the docstring."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        lines -= (first.end_lineno or 0) - first.lineno + 1
    return lines


def test_no_function_is_too_long_to_read():
    long = {name: length(node) for name, node in functions() if length(node) > MAX_LINES}
    assert long.keys() == LONG_FUNCTIONS.keys(), long


def test_values_have_types_and_not_just_keys():
    """``dict[str, Any]`` is for what a foreign library hands over."""
    found = [
        module
        for module, file in source_files().items()
        for _ in re.finditer(r"\bdict\[str, Any\]", file.read_text())
    ]
    assert len(found) < 25, found


def test_every_room_says_in_the_picture_what_it_is_for():
    rooms = {each for each in room_graph() if each.startswith(("benchmark.", "musclemap_data."))}
    assert draw_architecture.PURPOSE.keys() == rooms


def test_the_picture_shows_the_house_as_it_is():
    picture = (REPOSITORY / "docs/images/architecture.svg").read_text()
    assert picture == draw_architecture.draw(), "run `make architecture`"


def test_the_picture_leaves_out_an_arrow_that_follows_from_others():
    graph = {"report": {"run", "files"}, "run": {"files"}, "files": set()}
    assert draw_architecture.shortest_arrows(graph) == {
        "report": {"run"},
        "run": {"files"},
        "files": set(),
    }
