"""Where the installed command ``musclemap`` begins.

Beside the command line, the wheel installs packages with everyday names: ``cli``, ``benchmark``,
``annotations``. A file of the same name in a folder of ``PYTHONPATH`` would be taken for them.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path


def own_packages_first(path: list[str], pythonpath: str) -> list[str]:
    """The search path with the folders of ``PYTHONPATH`` at its end, behind what is installed.

    Args:
        path: as ``sys.path``.
        pythonpath: as the variable: folders with the system's separator between them.
    """
    folders = {Path(each).absolute() for each in pythonpath.split(os.pathsep) if each}
    later = [each for each in path if Path(each).absolute() in folders]
    return [each for each in path if each not in later] + later


def main() -> None:
    """Run the command line. Processes that it starts get the same search path."""
    sys.path[:] = own_packages_first(sys.path, os.environ.get("PYTHONPATH", ""))
    import_module("cli").app()
