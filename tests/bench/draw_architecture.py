"""The picture of docs/architecture.md: the rooms of both packages and who stands on whom.

    python -m tests.bench.draw_architecture docs/images/architecture.svg

Drawn from the imports: a room lies one floor below the lowest room that imports from it. An arrow
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
    "benchmark.app": "a page for your video",
    "benchmark.augment": "random changes",
    "benchmark.card": "what a model is for",
    "benchmark.cells": "numbers as text",
    "benchmark.chance": "what knowing nothing gets",
    "benchmark.checkpoint": "stop and continue",
    "benchmark.clips": "rows of the shards",
    "benchmark.commands": "one function a verb",
    "benchmark.compare": "a grid of runs",
    "benchmark.data": "clips as tensors",
    "benchmark.embedded": "the model in the box",
    "benchmark.encode": "features, once",
    "benchmark.features": "features, read back",
    "benchmark.finished": "the runs of a folder",
    "benchmark.identity": "which run it is",
    "benchmark.loader": "batches, read ahead",
    "benchmark.losses": "what training lowers",
    "benchmark.machine": "processes, device",
    "benchmark.metrics": "mAP and intervals",
    "benchmark.models": "one file a model",
    "benchmark.nearness": "how new is new",
    "benchmark.portable": "a model as ONNX",
    "benchmark.predict": "your own video",
    "benchmark.protocols": "folds, ablation",
    "benchmark.record": "what a run knows",
    "benchmark.reference": "graded scores, opinions",
    "benchmark.report": "page and figures",
    "benchmark.run": "one run, as an object",
    "benchmark.sampling": "which frames, clips",
    "benchmark.predictions": "what a model said",
    "benchmark.score": "a model's scores",
    "benchmark.settings": "presets",
    "benchmark.trackers": "TensorBoard, W&B",
    "benchmark.train": "the training loop",
    "musclemap_data.browse": "local web page",
    "musclemap_data.catalog": "regions, activities",
    "musclemap_data.check": "validate, statistics",
    "musclemap_data.cluster": "a connection to Ray",
    "musclemap_data.collect": "candidates",
    "musclemap_data.commands": "one function a verb",
    "musclemap_data.coverage": "what is missing",
    "musclemap_data.download": "videos, politely",
    "musclemap_data.draw": "body, skeleton, flow",
    "musclemap_data.errors": "failures, next steps",
    "musclemap_data.export": "for other tools",
    "musclemap_data.extract": "clips to shards",
    "musclemap_data.ffmpeg": "one list of arguments",
    "musclemap_data.files": "write, then rename",
    "musclemap_data.hub": "push and pull",
    "musclemap_data.importers": "other data sets",
    "musclemap_data.labels": "grades and evidence",
    "musclemap_data.launch": "where the command begins",
    "musclemap_data.ledger": "what happened",
    "musclemap_data.local_web": "who may ask a page",
    "musclemap_data.manifest": "clips to build",
    "musclemap_data.movement": "repetitions, angles",
    "musclemap_data.modalities": "one file a modality",
    "musclemap_data.pose": "skeletons",
    "musclemap_data.hub_access": "addresses of the Hub",
    "musclemap_data.ranges": "parts of remote shards",
    "musclemap_data.remote": "object storage",
    "musclemap_data.review": "people decide",
    "musclemap_data.rows": "columns, long clips",
    "musclemap_data.sample": "synthetic videos",
    "musclemap_data.segment": "videos to clips",
    "musclemap_data.shards": "rows on disk",
    "musclemap_data.skeleton": "COCO-17",
    "musclemap_data.stored": "pictures in the map",
    "musclemap_data.storage": "one object by its url",
    "musclemap_data.splits": "train, val, test",
    "musclemap_data.templates": "text with gaps",
    "musclemap_data.upgrade": "older format versions",
}
"""Room -> what it is for, in the few words that fit a box."""

BOX_WIDTH, BOX_HEIGHT, GAP = 124, 42, 12
FLOOR_HEIGHT, MARGIN = 72, 16

Graph = Mapping[str, set[str]]


def draw() -> str:
    """The picture as SVG text; the same text for the same imports."""
    graph = room_graph()
    if circle := find_circle(graph):
        raise ValueError(f"no floors can be drawn for a circle: {' -> '.join(circle)}")
    by_benchmark = set().union(*(graph[room] for room in graph if room.startswith("benchmark.")))
    upper = Layout({room for room in graph if room.startswith("benchmark.")}, graph)
    lower = Layout({room for room in graph if room.startswith("musclemap_data.")}, graph)
    aside = BOX_WIDTH + 2 * GAP  # beside the benchmark, for the box of annotations
    width = max(upper.width + aside, lower.width)
    middle = MARGIN + (width - aside) // 2
    right = MARGIN + width - BOX_WIDTH // 2
    top = MARGIN + BOX_HEIGHT + 28
    bottom = top + upper.height + 28
    parts = [
        *_room(middle, MARGIN, "cli", "errors to exit codes", "room"),
        _arrow([(middle, MARGIN + BOX_HEIGHT), (middle, top)], "thick"),
        *_band(top, width - aside, upper.height, "benchmark"),
        *upper.parts(middle, top, set()),
        _arrow([(middle, top + upper.height), (middle, bottom)], "thick"),
        *_room(right, bottom - 100, "annotations", "labels, sources", "room"),
        _arrow([(right, bottom - 100 + BOX_HEIGHT), (right, bottom)], "thick"),
        *_band(bottom, width, lower.height, "musclemap_data"),
        *lower.parts(MARGIN + width // 2, bottom, by_benchmark),
        f'<text x="{MARGIN + 12}" y="{bottom + 42}" class="purpose left">'
        "blue: benchmark stands on it</text>",
    ]
    size = f"0 0 {width + 2 * MARGIN} {bottom + lower.height + MARGIN}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}" '
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


class Layout:
    """Where the rooms of one package lie; its middle is x = 0, its top y = 0."""

    def __init__(self, rooms: set[str], graph: Graph) -> None:
        self.graph = shortest_arrows({room: graph[room] & rooms for room in rooms})
        self.floors, self.links = floors_of(self.graph)
        order_floors(self.floors, self.links)
        self.middles = place(self.floors, self.links)
        self.width = 2 * max(map(abs, self.middles.values())) + BOX_WIDTH + 2 * GAP
        self.height = len(self.floors) * FLOOR_HEIGHT + 20

    def parts(self, middle: int, top: int, seen: set[str]) -> list[str]:
        """Arrows, then boxes; those of ``seen`` are blue."""
        x = {node: middle + value for node, value in self.middles.items()}
        y = {
            node: top + 36 + (len(self.floors) - 1 - floor) * FLOOR_HEIGHT
            for floor, nodes in enumerate(self.floors)
            for node in nodes
        }
        parts = []
        for room, targets in sorted(self.graph.items()):
            for target in sorted(targets):
                path, node = [(x[room], y[room] + BOX_HEIGHT)], room
                while node != target:
                    node = next(
                        to for to in self.links[node] if to == target or to.endswith(f">{target}")
                    )
                    path.append((x[node], y[node]))
                    if node != target:
                        path.append((x[node], y[node] + BOX_HEIGHT))
                parts.append(_arrow(path, "arrow"))
        for room in sorted(self.graph):
            name, kind = room.rpartition(".")[2], "seen" if room in seen else "room"
            parts += _room(x[room], y[room], name, PURPOSE[room], kind)
        return parts


def floors_of(graph: Graph) -> tuple[list[list[str]], dict[str, list[str]]]:
    """Nodes by floor, ground first, and each one's links to the floor below.

    An arrow over several floors passes each of them at a node of its own, named ``from>to``.
    """

    def depth(room: str) -> int:
        return 1 + max((depth(above) for above in graph if room in graph[above]), default=-1)

    depths = {room: depth(room) for room in graph}
    for room in graph.keys() - set().union(*graph.values()):  # nobody imports it: down it goes
        depths[room] = min((depths[to] for to in graph[room]), default=1) - 1
    lowest = max(depths.values())

    def height(room: str) -> int:
        return lowest - depths[room]

    floors: list[list[str]] = [[] for _ in range(1 + lowest)]
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


def place(floors: list[list[str]], links: Mapping[str, list[str]]) -> dict[str, int]:
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
    middle = (min(x.values()) + max(x.values())) / 2
    return {node: round(value - middle) for node, value in x.items()}


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
    path = sys.argv[1] if len(sys.argv) > 1 else "docs/images/architecture.svg"
    Path(path).write_text(draw(), encoding="utf-8")
