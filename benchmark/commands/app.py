"""The verb `app`: a local page that takes a video or the camera."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from musclemap_data.commands.shared import (
    START,
    BlurFaces,
    Host,
    OpenPage,
    Port,
    Processes,
    examples,
    warn,
)

app = typer.Typer()


@app.command(
    "app",
    rich_help_panel=START,
    epilog=examples(
        "`musclemap app` (then drop a video on the page)",
        "`musclemap app --keep results` (results stay, a folder a video)",
        "`musclemap app --port 9000 --no-open`",
    ),
)
def run_app(
    host: Host = "127.0.0.1",
    port: Port = None,
    open_page: OpenPage = True,
    keep: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for results that stay. Default: none is kept."),
    ] = None,
    max_mib: Annotated[int, typer.Option(min=1, help="MiB that a video may have.")] = 1024,
    blur_faces: BlurFaces = False,
    workers: Processes = None,
) -> None:
    """Judge videos on a local page: drop one or use the camera, see exercise, muscles, repetitions.

    Nothing leaves this machine, and no video is kept. **Not a medical device.**
    """
    from benchmark.app.jobs import Jobs
    from benchmark.app.judge import make_judge
    from benchmark.app.pages import create_app
    from benchmark.embedded.model import EmbeddedModel
    from musclemap_data.local_web import serve

    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)

    def on_ready(address: str) -> None:
        typer.echo(f"{address} (Ctrl-C ends it)")
        if host not in ("127.0.0.1", "localhost", "::1"):
            warn(f"everyone who can reach {host} can send videos; there is no password.")

    with tempfile.TemporaryDirectory(prefix="musclemap-app-") as work:
        jobs = Jobs(make_judge(EmbeddedModel.load(), workers, blur_faces), Path(work), keep)
        try:
            serve(
                lambda names: create_app(jobs, max_mib * 2**20, host_names=names),
                host, port, open_page=open_page, on_ready=on_ready,
            )  # fmt: skip
        finally:
            jobs.close()
