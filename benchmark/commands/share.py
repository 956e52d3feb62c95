"""The verbs `push` and `pull`: data sets and runs on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from musclemap_data.commands.shared import (
    DEFAULT_DATA,
    LOOK,
    Data,
    examples,
    progress,
)

app = typer.Typer()

RUN_FILES = ("model.safetensors", "settings.json", "metrics.json", "predictions.parquet")
"""What a run needs to predict and to be shown; its card goes as the repository's ``README.md``."""
RUN_HEADER = """---
library_name: musclemap
pipeline_tag: video-classification
tags:
- muscle
- multi-label
---

"""

Address = Annotated[str, typer.Argument(metavar="hf://OWNER/NAME", help="A repository of the Hub.")]


@app.command(
    rich_help_panel=LOOK,
    epilog=examples(
        "`musclemap push hf://me/squats --data data/mine` (labels and skeletons, no picture)",
        "`musclemap push hf://me/squats --data data/mine --i-have-the-rights` (pictures, too)",
        "`musclemap push hf://me/transm3e-squats --run transm3e-base-seed0 --data data/mine`",
    ),
)
def push(
    address: Address,
    run: Annotated[
        Path | None,
        typer.Option(help="A finished run instead of the data set: its name, or its folder."),
    ] = None,
    data: Data = DEFAULT_DATA,
    rights: Annotated[
        bool,
        typer.Option(
            "--i-have-the-rights",
            help="Send pictures, too: you may publish these videos, and the people in them agree.",
        ),
    ] = False,
    private: Annotated[
        bool, typer.Option("--private", help="Make the repository private, if it is a new one.")
    ] = False,
) -> None:
    """Send a data set or a run to the Hugging Face Hub, with its card.

    Without `--i-have-the-rights` all pictures stay here; synthetic ones go. What is there already
    is not sent again. Log in with `hf auth login`, or put a token into `HF_TOKEN`.

    Exit code 2: nothing to send, no network, or no right to write there.
    """
    from musclemap_data.hub import push_dataset, push_folder
    from musclemap_data.hub_access import read_address

    if run is None:
        target = read_address(address, kind="dataset")
        with progress("shard", "prepare", delay=0.5) as bar:
            where = push_dataset(
                data,
                target,
                pictures=rights,
                private=private,
                on_total=bar.reset,
                on_shard=bar.update,
            )
    else:
        target = read_address(address, kind="model")
        with_card = prepare_run(data, run)
        where = push_folder(with_card, target, private=private, files=(*RUN_FILES, "README.md"))
    typer.echo(where)
    kind = "" if target.kind == "dataset" else "models/"
    typer.echo(f"Others: musclemap pull hf://{kind}{target.repo} --data FOLDER", err=True)


def prepare_run(data: Path, run: Path) -> Path:
    """A finished run's folder, after its card was written as the ``README.md`` of a repository.

    Raises:
        UserError: there is no such run, or it is not finished.
    """
    from benchmark.card import model_card
    from benchmark.finished import choose_run
    from benchmark.record import need_record
    from musclemap_data.catalog import is_synthetic
    from musclemap_data.files import write_text
    from musclemap_data.shards import iterate_rows

    folder, _ = choose_run(data, run)
    written = folder / "MODEL_CARD.md"
    if written.is_file():
        card = written.read_text(encoding="utf-8")
    else:  # a run of before there were cards
        videos = {row["video_id"] for _, _, row in iterate_rows(data, ["video_id"])}
        card = model_card(need_record(folder), synthetic=is_synthetic(videos))
    write_text(folder / "README.md", RUN_HEADER + card)
    return folder


@app.command(
    rich_help_panel=LOOK,
    epilog=examples(
        "`musclemap pull hf://me/squats --data data/squats`",
        "`musclemap pull hf://me/squats@v2 --data data/squats` (a tag, a branch or a commit)",
        "`musclemap pull hf://models/me/transm3e-squats --data data/squats` (a run, into runs/)",
    ),
)
def pull(address: Address, data: Data = DEFAULT_DATA) -> None:
    """Fetch a data set or a run that `musclemap push` sent, and check it against its hashes.

    What was interrupted goes on where it stopped. Without pictures, a data set has null in their
    columns: skeleton models train on it, video models do not.

    Exit code 2: there is something already, no network, or nothing of that name.
    """
    from musclemap_data.errors import UserError
    from musclemap_data.hub import pull_dataset, pull_folder
    from musclemap_data.hub_access import read_address

    source = read_address(address)
    if source.kind == "dataset":
        shards = pull_dataset(source, data)
        typer.echo(f"{shards} shards in {data}")
        typer.echo(f"Next: musclemap stats --data {data}", err=True)
        return
    folder = data / "runs" / source.repo.partition("/")[2]
    if folder.exists():
        raise UserError(f"{folder} is there already: rename it, or give another folder as --data")
    draft = folder.with_name(f".{folder.name}.pull")
    pull_folder(source, draft, files=(*RUN_FILES, "README.md"))
    if not (draft / "metrics.json").is_file():
        raise UserError(f"hf://{source.repo} is no run: `musclemap push --run` did not make it")
    draft.replace(folder)
    typer.echo(folder)
    typer.echo(f"Next: musclemap predict VIDEO --model {folder}", err=True)
