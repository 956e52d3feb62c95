"""Who imports whom, read from the source: what ``test_house.py`` checks and the picture shows."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("musclemap_data", "benchmark", "annotations")


@dataclass(frozen=True)
class Import:
    """One import statement: dotted module names, and whether it stands inside a function."""

    importer: str
    imported: str
    line: int
    late: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


@cache
def source_files() -> Mapping[str, Path]:
    """Dotted module name -> file, for ``cli.py`` and the three packages."""
    files = [REPOSITORY / "cli.py"]
    for package in PACKAGES:
        files += sorted((REPOSITORY / package).rglob("*.py"))
    return {_module_name(file): file for file in files}


def _module_name(file: Path) -> str:
    parts = file.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports() -> tuple[Import, ...]:
    """Every import of one of our modules by another, late ones too."""
    found: list[Import] = []
    for module, file in source_files().items():
        tree = ast.parse(file.read_text(), str(file))
        found += [each for each in _imports_below(tree, module, late=False)]
    return tuple(each for each in found if each.imported != each.importer)


def _imports_below(node: ast.AST, module: str, *, late: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            names = [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{module}:{child.lineno}: a relative import"
            inside = [f"{child.module}.{alias.name}" for alias in child.names]
            names = [name if name in source_files() else str(child.module) for name in inside]
        else:
            in_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports_below(child, module, late=late or in_function)
            continue
        for name in dict.fromkeys(names):
            if name in source_files():
                yield Import(module, name, child.lineno, late)


def room(module: str) -> str:
    """The room of a module: a folder of a package, or a file that lies in the package itself.

    ``musclemap_data.pose.follow`` is in ``musclemap_data.pose``; ``musclemap_data.files`` is its
    own room, and so is ``musclemap_data``, the public face in ``__init__.py``.
    """
    return ".".join(module.split(".")[:2])


def room_graph() -> dict[str, set[str]]:
    """Room -> the rooms it imports from."""
    graph: dict[str, set[str]] = {room(module): set() for module in source_files()}
    for each in imports():
        if room(each.importer) != room(each.imported):
            graph[room(each.importer)].add(room(each.imported))
    return graph


def find_circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Nodes that lead back to the first of them, or an empty list."""
    finished: set[str] = set()

    def walk(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node not in finished:
            for following in sorted(graph.get(node, ())):
                if circle := walk(following, [*path, node]):
                    return circle
            finished.add(node)
        return []

    return next((circle for node in sorted(graph) if (circle := walk(node, []))), [])
