"""What the verbs of the benchmark share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

BENCHMARK = "Benchmark"
"""Group of verbs in ``musclemap --help``."""

RunsFolder = Annotated[
    Path | None, typer.Option("--runs", help="The folder of run folders. Default: DATA/runs.")
]
