"""Several videos at once: which files are meant, where each result goes, a table over all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmark.predict.video import PredictedVideo
from musclemap_data.errors import UserError
from musclemap_data.files import VIDEO_ENDINGS, videos_in

DEFAULT_OUT = Path("predictions")


def find_videos(given: Sequence[Path]) -> list[Path]:
    """The files that are meant, folders opened (not the folders in them), each once.

    Of a folder only videos are taken. A file that is named is always tried.

    Raises:
        UserError: a folder holds no video.
    """
    found: dict[Path, Path] = {}
    for path in given:
        inside = [path]
        if path.is_dir():
            inside = videos_in(path, deep=False)
            if not inside:
                raise UserError(f"the folder {path} holds no video ({', '.join(VIDEO_ENDINGS)})")
        for each in inside:
            found.setdefault(each.resolve(), each)
    return list(found.values())


def places(files: Sequence[Path], out: Path | None) -> list[Path]:
    """The folder of each video's results: ``out`` itself for one video, else NAME in it.

    Videos of the same name are numbered, so that none overwrites another.
    """
    if len(files) == 1 and out is not None:
        return [out]
    taken: set[str] = set()
    folders = []
    for file in files:
        name, number = file.stem, 2
        while name in taken:
            name, number = f"{file.stem}-{number}", number + 1
        taken.add(name)
        folders.append((out or DEFAULT_OUT) / name)
    return folders


def format_table(done: Sequence[PredictedVideo]) -> str:
    """One line a video: what was recognised and the regions that it works most."""
    lines = [("video", "seconds", "exercise", "works")]
    for each in done:
        video = each.prediction["video"]
        works = ", ".join(each.works[:4])
        lines.append((video["file"], f"{video['seconds']:.1f}", each.exercise or "-", works))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
