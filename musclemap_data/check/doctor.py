"""What this machine has for MuscleMap, what it lacks, and which command that stops."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement

MAIN_COMMANDS = ("download", "extract-modalities", "benchmark")
OLD_YT_DLP_DAYS = 60
"""From this age on, a video that yt-dlp cannot fetch is more likely its fault than the site's."""
LITTLE_DISK_BYTES = 10 * 10**9

_ONLY_FOR: dict[str, tuple[str, ...]] = {
    "ai-edge-litert": ("extract-modalities",),
    "deno": (),
    "jinja2": ("benchmark",),
    "matplotlib": (),
    "numba": ("extract-modalities",),
    "pandas": (),
    "pip": (),
    "safetensors": ("benchmark",),
    "scipy": (),
    "starlette": (),
    "tenacity": ("download",),
    "torch": ("benchmark",),
    "torchvision": ("benchmark",),
    "uvicorn": (),
    "yt-dlp": ("download",),
}
"""Package -> main commands that need it, where it is not all three."""

_LOADED: dict[str, str] = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "av": "av",
    "numba": "numba",
    "opencv-contrib-python-headless": "cv2",
    "pyarrow": "pyarrow.parquet",
    "torch": "torch",
    "yt-dlp": "yt_dlp",
}
"""Package -> module that may be there and still not load: what it links to is missing or old."""

_EXTRAS = (
    ("curl-cffi", "curl_cffi", "download --impersonate", "pip install 'musclemap[impersonate]'"),
    ("onnxruntime", "onnxruntime", "--pose rtmpose", "pip install 'musclemap[rtmpose]'"),
    ("mmpose", "mmpose", "--pose mmpose", "make mmpose (docs/pose.md)"),
    ("ray", "ray", "--engine ray", "pip install 'musclemap[ray]'"),
    ("s3fs", "s3fs", "--data s3://", "pip install 'musclemap[s3]'"),
)
"""Package, its module, what it is for, how to get it."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what it is.
        found: what is there, in a few words.
        stops: main commands that cannot run because of it; mostly none.
        advice: what to do; empty where all is well.
    """

    name: str
    found: str
    stops: tuple[str, ...] = ()
    advice: str = ""


def examine(data_dir: Path) -> Iterator[Finding]:
    """Look at everything, one after the other; nothing is installed, fetched or changed.

    Args:
        data_dir: where the data set is or will be.
    """
    yield _python()
    yield from _packages()
    yield _ffmpeg()
    yield _yt_dlp(datetime.now(UTC).date())
    yield _javascript()
    yield _gpu()
    yield _pose_weights()
    yield _disk(data_dir)
    yield from _extras()


def _python() -> Finding:
    try:
        own = version("musclemap")
    except PackageNotFoundError:
        own = "(not installed: run from its folder)"
    cores = f"{os.cpu_count() or 1} cores"
    return Finding("musclemap", f"{own}, Python {platform.python_version()}, {cores}")


def _packages() -> Iterator[Finding]:
    """Required packages that are missing, too old or do not load; one line if there are none."""
    try:
        wanted = [Requirement(text) for text in requires("musclemap") or ()]
    except PackageNotFoundError:
        wanted = []
    faults = 0
    for requirement in wanted:
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        fault = _fault(requirement)
        if fault is not None:
            faults += 1
            yield fault
    if wanted and not faults:
        yield Finding("packages", "all that are required")


def _fault(requirement: Requirement) -> Finding | None:
    name = requirement.name.lower()
    stops = _ONLY_FOR.get(name, MAIN_COMMANDS)
    advice = f'pip install "{requirement.name}{requirement.specifier}"'
    try:
        there = version(name)
    except PackageNotFoundError:
        return Finding(name, "missing", stops, advice)
    if not requirement.specifier.contains(there, prereleases=True):
        return Finding(name, f"{there}, needed is {requirement.specifier}", (), advice)
    if name in _LOADED and (error := _load_error(_LOADED[name])):
        return Finding(name, f"{there} does not load: {error}", stops, advice)
    return None


def _load_error(module: str) -> str:
    try:
        import_module(module)
    except Exception as error:
        return " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return ""


def _ffmpeg() -> Finding:
    from musclemap_data.ffmpeg import ffmpeg_binary

    stops = ("download", "extract-modalities")
    advice = (
        'pip install --force-reinstall "imageio-ffmpeg", or set IMAGEIO_FFMPEG_EXE to an ffmpeg'
    )
    try:
        binary = ffmpeg_binary()
        done = subprocess.run(
            [binary, "-version"], capture_output=True, text=True, timeout=30, check=True
        )
    except (ImportError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        return Finding("ffmpeg", f"does not run: {error}", stops, advice)
    named = re.match(r"ffmpeg version (\S+)", done.stdout)
    return Finding("ffmpeg", f"{named[1] if named else 'of unknown version'} ({binary})")


def _yt_dlp(today: date) -> Finding:
    """How old yt-dlp is: its version is the date of its release."""
    update = 'pip install -U "yt-dlp[default]"'
    try:
        there = version("yt-dlp")
    except PackageNotFoundError:
        return Finding("yt-dlp", "missing", ("download",), update)
    try:
        year, month, day = map(int, re.split(r"\D", there)[:3])
        days = (today - date(year, month, day)).days
    except ValueError:
        return Finding("yt-dlp", f"{there}, of unknown age", (), update)
    old = f"sites may have changed since: {update}" if days > OLD_YT_DLP_DAYS else ""
    return Finding("yt-dlp", f"{there}, {days} days old", (), old)


def _javascript() -> Finding:
    advice = "YouTube needs one: pip install deno, or Node.js 22 or later"
    if find_spec("yt_dlp") is None:
        return Finding("JavaScript runtime", "unknown, yt-dlp is missing", (), advice)
    from musclemap_data.download.ytdlp import javascript_runtime

    there = javascript_runtime()
    return Finding("JavaScript runtime", there or "none", (), "" if there else advice)


def _gpu() -> Finding:
    try:
        import torch
    except Exception:
        return Finding("GPU", "unknown, torch does not load")
    if torch.cuda.is_available():
        devices = [torch.cuda.get_device_properties(n) for n in range(torch.cuda.device_count())]
        names = [f"{each.name} ({each.total_memory / 2**30:.0f} GiB)" for each in devices]
        return Finding("GPU", f"{', '.join(names)}; torch {torch.__version__}")
    return Finding("GPU", f"none; torch {torch.__version__} computes on the CPU")


def _pose_weights() -> Finding:
    from musclemap_data.pose.weights import BY_HAND, blazepose_ready

    if blazepose_ready():
        return Finding("BlazePose weights", "there")
    if find_spec("pip") is None:
        stops = ("extract-modalities",)
        return Finding("BlazePose weights", "not there, and no pip to fetch them", stops, BY_HAND)
    return Finding(
        "BlazePose weights", "not there yet; the first extraction fetches them (35 MB, once)"
    )


def _disk(data_dir: Path) -> Finding:
    folder = data_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        advice = "choose another --data, or get permission"
        return Finding("disk", f"{folder} cannot be written to", MAIN_COMMANDS, advice)
    free = shutil.disk_usage(folder).free
    few = "that is little: see docs/scaling.md" if free < LITTLE_DISK_BYTES else ""
    return Finding("disk", f"{free / 1e9:.0f} GB free for {data_dir}", (), few)


def _extras() -> Iterator[Finding]:
    for name, module, purpose, how in _EXTRAS:
        there = find_spec(module) is not None
        found = _installed(name) if there else "not installed"
        yield Finding(f"{name} (optional)", f"{found}; for {purpose}", (), "" if there else how)


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return f"there, without a version ({sys.prefix})"


def cannot_run(findings: list[Finding]) -> dict[str, list[str]]:
    """Main command -> names of what stops it."""
    return {
        command: [each.name for each in findings if command in each.stops]
        for command in MAIN_COMMANDS
    }
