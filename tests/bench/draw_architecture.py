"""The picture of docs/architecture.md: the rooms of both packages and who stands on whom.

    python -m tests.bench.draw_architecture docs/images/architecture.svg

Drawn from the imports: a room stands one floor above the highest room it imports from. An arrow
that follows from two others is left out: where report stands on predict and predict on run, there
is no arrow from report to run. From the benchmark to the data package one arrow stands for all;
blue shows where they end.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from html import escape
from itertools import pairwise
from pathlib import Path

from scipy.optimize import isotonic_regression

from tests.imports import find_circle, room_graph

PURPOSE = {
    "benchmark.augment": "random views",
    "benchmark.cells": "numbers as text",
    "benchmark.checkpoint": "stop and go on",
    "benchmark.clips": "rows of the shards",
    "benchmark.commands": "one function a verb",
    "benchmark.data": "batches",
    "benchmark.losses": "what training lowers",
    "benchmark.metrics": "mAP and intervals",
    "benchmark.models": "one file a model",
    "benchmark.predict": "your own video",
    "benchmark.protocols": "folds, ablation",
    "benchmark.report": "page and figures",
    "benchmark.run": "what a run needs",
    "benchmark.score": "a model's scores",
    "benchmark.settings": "presets",
    "benchmark.train": "the training loop",
    "musclemap_data.browse": "local web page",
    "musclemap_data.catalog": "regions, activities",
    "musclemap_data.check": "validate, statistics",
    "musclemap_data.commands": "one function a verb",
    "musclemap_data.download": "videos, politely",
    "musclemap_data.draw": "body, skeleton, flow",
    "musclemap_data.errors": "failures, next steps",
    "musclemap_data.export": "for other tools",
    "musclemap_data.extract": "clips to shards",
    "musclemap_data.ffmpeg": "one list of arguments",
    "musclemap_data.files": "write, then rename",
    "musclemap_data.importers": "other data sets",
    "musclemap_data.ledger": "what happened",
    "musclemap_data.manifest": "clips to build",
    "musclemap_data.modalities": "one file a modality",
    "musclemap_data.pose": "skeletons",
    "musclemap_data.remote": "object storage",
    "musclemap_data.sample": "synthetic videos",
    "musclemap_data.shards": "rows on disk",
    "musclemap_data.skeleton": "COCO-17",
    "musclemap_data.splits": "train, val, test",
}
"""Room -> what it is for, in the few words that fit a box."""

BOX_WIDTH, BOX_HEIGHT, GAP = 124, 42, 12
FLOOR_HEIGHT = 72
WIDTH, MARGIN = 900, 16
SIDE = BOX_WIDTH + 2 * GAP
"""Room beside the benchmark's band for the box of ``annotations``."""

Graph = Mapping[str, set[str]]


def draw() -> str:
    """The picture as SVG text; the same text for the same imports."""
    graph = room_graph()
    if circle := find_circle(graph):
        raise ValueError(f"no floors can be drawn for a circle: {' -> '.join(circle)}")
    by_benchmark = set().union(*(graph[room] for room in graph if room.startswith("benchmark.")))
    upper, lower = (
        shortest_arrows({room: graph[room] & rooms for room in rooms})
        for rooms in (
            {room for room in graph if room.startswith(f"{package}.")}
            for package in ("benchmark", "musclemap_data")
        )
    )
    middle = (WIDTH - SIDE) // 2
    top = MARGIN + BOX_HEIGHT + 28
    above, upper_height = draw_package(upper, set(), top, middle)
    bottom = top + upper_height + 28
    below, lower_height = draw_package(lower, by_benchmark, bottom, WIDTH // 2)
    aside = WIDTH - MARGIN - BOX_WIDTH // 2
    end = bottom + lower_height
    parts = [
        *_room(middle, MARGIN, "cli", "errors to exit codes", "room"),
        _arrow([(middle, MARGIN + BOX_HEIGHT), (middle, top)], "thick"),
        *_band(top, WIDTH - MARGIN - SIDE, upper_height, "benchmark"),
        above,
        _arrow([(middle, top + upper_height), (middle, bottom)], "thick"),
        *_room(aside, bottom - 100, "annotations", "labels, sources", "room"),
        _arrow([(aside, bottom - 100 + BOX_HEIGHT), (aside, bottom)], "thick"),
        *_band(bottom, WIDTH - 2 * MARGIN, lower_height, "musclemap_data"),
        below,
        f'<text x="{MARGIN + 12}" y="{bottom + 42}" class="purpose left">'
        "blue: benchmark stands on it</text>",
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {end + MARGIN}" '
        'font-family="Helvetica, Arial, sans-serif" text-anchor="middle">\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n{STYLE}\n' + "\n".join(parts)
    ) + "\n</svg>\n"


STYLE = """<style>
.band { fill: #f6f7f9; stroke: #c9ced6 }
.room { fill: #fff; stroke: #5b6472 }
.seen { fill: #dcebfb; stroke: #2a6cb0 }
.arrow { fill: none; stroke: #8b94a1 }
.thick { fill: none; stroke: #2a6cb0; stroke-width: 3 }
.package { font-size: 17px; font-weight: bold; text-anchor: start; fill: #2b3038 }
.name { font-size: 13px; font-weight: bold; fill: #1b1f24 }
.purpose { font-size: 10.5px; fill: #4a525e }
.left { text-anchor: start }
</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"
 markerUnits="userSpaceOnUse" orient="auto">
 <path d="M0 0 L8 4 L0 8 z" fill="#5b6472"/></marker></defs>"""


def shortest_arrows(graph: Graph) -> dict[str, set[str]]:
    """The graph without arrows that follow from others (its transitive reduction)."""

    def below(node: str) -> set[str]:
        return graph[node].union(*(below(to) for to in graph[node]))

    return {
        node: {to for to in targets if not any(to in below(other) for other in targets)}
        for node, targets in graph.items()
    }


def draw_package(graph: Graph, seen: set[str], top: int, middle: int) -> tuple[str, int]:
    """Boxes and arrows of one package around the x ``middle``, and its height."""
    floors, links = floors_of(graph)
    order_floors(floors, links)
    middles = place(floors, links, middle)
    heights = {node: floor for floor, nodes in enumerate(floors) for node in nodes}
    height = len(floors) * FLOOR_HEIGHT + 12

    def y(node: str) -> int:
        return top + 28 + (len(floors) - 1 - heights[node]) * FLOOR_HEIGHT

    parts = []
    for room, targets in sorted(graph.items()):
        for target in sorted(targets):
            path, node = [(middles[room], y(room) + BOX_HEIGHT)], room
            while node != target:
                node = next(to for to in links[node] if to == target or to.endswith(f">{target}"))
                bend = [(middles[node], y(node)), (middles[node], y(node) + BOX_HEIGHT)]
                path += bend[:1] if node == target else bend
            parts.append(_arrow(path, "arrow"))
    for room in sorted(graph):
        name, kind = room.rpartition(".")[2], "seen" if room in seen else "room"
        parts += _room(middles[room], y(room), name, PURPOSE[room], kind)
    return "\n".join(parts), height


def floors_of(graph: Graph) -> tuple[list[list[str]], dict[str, list[str]]]:
    """Nodes by floor, ground first, and each one's links to the floor below.

    An arrow over several floors passes each of them at a node of its own, named ``from>to``.
    """

    def height(room: str) -> int:
        return 1 + max((height(to) for to in graph[room]), default=-1)

    floors: list[list[str]] = [[] for _ in range(1 + max(map(height, graph)))]
    links: dict[str, list[str]] = {}
    for room in sorted(graph):
        floors[height(room)].append(room)
    for room in sorted(graph):
        for target in sorted(graph[room]):
            node = room
            for floor in range(height(room) - 1, height(target), -1):
                passing = f"{floor}:{room}>{target}"
                floors[floor].append(passing)
                links.setdefault(node, []).append(passing)
                node = passing
            links.setdefault(node, []).append(target)
    return floors, links


def order_floors(floors: list[list[str]], links: Mapping[str, list[str]]) -> None:
    """Order each floor by the mean place of its neighbours, so that few arrows cross."""
    best, fewest = [list(floor) for floor in floors], crossings(floors, links)
    for sweep in range(40):
        down = sweep % 2 == 0
        for index in range(len(floors) - 2, -1, -1) if down else range(1, len(floors)):
            other = floors[index + 1 if down else index - 1]
            means = {}
            for place_now, node in enumerate(floors[index]):
                near = [
                    place
                    for place, neighbour in enumerate(other)
                    if (
                        node in links.get(neighbour, ())
                        if down
                        else neighbour in links.get(node, ())
                    )
                ]
                means[node] = sum(near) / len(near) if near else place_now
            floors[index].sort(key=means.__getitem__)
        if (count := crossings(floors, links)) < fewest:
            best, fewest = [list(floor) for floor in floors], count
    floors[:] = best


def crossings(floors: list[list[str]], links: Mapping[str, list[str]]) -> int:
    """How many pairs of arrows cross."""
    count = 0
    for upper, lower in zip(floors[1:], floors, strict=False):
        ends = [(a, lower.index(to)) for a, node in enumerate(upper) for to in links.get(node, ())]
        count += sum(a < c and b > d for a, b in ends for c, d in ends)
    return count


def place(floors: list[list[str]], links: Mapping[str, list[str]], middle: int) -> dict[str, int]:
    """The x of every node's middle: near its neighbours, in the given order, without overlap."""
    x: dict[str, float] = {}
    offsets: dict[str, float] = {}
    neighbours: dict[str, list[str]] = {}
    for nodes in floors:
        edge = 0.0
        for node in nodes:
            width = 0 if ">" in node else BOX_WIDTH
            offsets[node] = edge + width / 2
            edge += width + GAP
            neighbours[node] = list(links.get(node, ()))
        x |= {node: offsets[node] - edge / 2 for node in nodes}
    for node, targets in links.items():
        for to in targets:
            neighbours[to].append(node)
    for sweep in range(200):
        for nodes in floors if sweep % 2 else reversed(floors):
            wanted = []
            for node in nodes:
                near = [x[other] for other in neighbours[node]] or [x[node]]
                wanted.append(sum(near) / len(near) - offsets[node])
            for node, shift in zip(nodes, isotonic_regression(wanted).x, strict=True):
                x[node] = float(shift) + offsets[node]
    shift = middle - (min(x.values()) + max(x.values())) / 2
    return {node: round(value + shift) for node, value in x.items()}


def _band(y: int, width: int, height: int, name: str) -> list[str]:
    return [
        f'<rect x="{MARGIN}" y="{y}" width="{width}" height="{height}" rx="5" class="band"/>',
        f'<text x="{MARGIN + 12}" y="{y + 24}" class="package">{name}</text>',
    ]


def _room(middle: int, y: int, name: str, purpose: str, kind: str) -> list[str]:
    return [
        f'<rect x="{middle - BOX_WIDTH // 2}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" '
        f'rx="5" class="{kind}"/>',
        f'<text x="{middle}" y="{y + 18}" class="name">{name}</text>',
        f'<text x="{middle}" y="{y + 33}" class="purpose">{escape(purpose)}</text>',
    ]


def _arrow(points: list[tuple[int, int]], kind: str) -> str:
    """A curve that leaves and reaches each point straight up or down."""
    path = f"M{points[0][0]} {points[0][1]}"
    for (x0, y0), (x1, y1) in pairwise(points):
        bend = (y0 + y1) // 2
        path += f" L{x1} {y1}" if x0 == x1 else f" C{x0} {bend} {x1} {bend} {x1} {y1}"
    return f'<path d="{path}" class="{kind}" marker-end="url(#tip)"/>'


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(draw(), encoding="utf-8")
