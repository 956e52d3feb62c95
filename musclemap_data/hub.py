"""Data sets and runs sent to the Hugging Face Hub and fetched whole, by ``hf://`` addresses.

A folder is made, which is sent or fetched here. For reading a part of a data set see ``remote``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from musclemap_data.errors import UserError
from musclemap_data.export.bare import without_pictures
from musclemap_data.export.contents import read_contents
from musclemap_data.export.datasets_folder import place_shards, write_croissant, write_hf_readme
from musclemap_data.files import file_sha256, working_folder, write_text
from musclemap_data.hub_access import HubAddress, connected, shard_of
from musclemap_data.shards import dataset_info_text, read_dataset_info


def push_dataset(
    data_dir: Path,
    address: HubAddress,
    *,
    pictures: bool,
    private: bool,
    on_total: Callable[[int], None] = lambda total: None,
    on_shard: Callable[[], None] = lambda: None,
) -> str:
    """Send a finished data set: shards, card, Croissant, and what ``pull_dataset`` needs.

    Args:
        pictures: also RGB, difference and flow. Only who has the right to publish them may.
        private: make the repository private, if it is a new one.
        on_total: called once with the number of shards to prepare.
        on_shard: called after each.

    Returns:
        The address of the commit.

    Raises:
        UserError: no finished data set, no network, or no right to write there.
    """
    contents = read_contents(data_dir)
    on_total(contents.shard_count)
    with working_folder(Path(data_dir) / "push") as folder:
        if pictures or contents.synthetic:
            for _ in range(contents.shard_count):
                on_shard()
        else:
            contents = without_pictures(contents, folder / "bare", on_shard)
        out = folder / "out"
        out.mkdir(parents=True)
        place_shards(contents, out, lambda: None)
        write_hf_readme(contents, out)
        write_croissant(contents, out)
        write_text(out / "dataset.json", dataset_info_text(contents.info))
        return push_folder(out, address, private=private)


def push_folder(
    folder: Path, address: HubAddress, *, private: bool, files: Sequence[str] | None = None
) -> str:
    """Send a folder, or some of its files; what is there already is not sent again.

    Returns:
        The address of the commit.

    Raises:
        UserError: no network, or no right to write there.
    """
    with connected(address) as api:
        api.create_repo(address.repo, repo_type=address.kind, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=address.repo,
            repo_type=address.kind,
            folder_path=folder,
            revision=address.revision,
            allow_patterns=list(files) if files else None,
            commit_message="From the MuscleMap toolkit",
        )
        return str(done.commit_url)


def pull_folder(address: HubAddress, folder: Path, *, files: Sequence[str]) -> None:
    """Fetch files, by name or with ``*``, into a folder; what is there already is kept.

    Raises:
        UserError: no network, no such repository, or no right to read it.
    """
    with connected(address) as api:
        api.snapshot_download(
            address.repo,
            repo_type=address.kind,
            revision=address.revision,
            local_dir=folder,
            allow_patterns=list(files),
        )
    shutil.rmtree(folder / ".cache", ignore_errors=True)


def pull_dataset(address: HubAddress, data_dir: Path) -> int:
    """Fetch a data set that ``push_dataset`` sent, checked against its hashes.

    A fetch that was interrupted goes on where it stopped.

    Args:
        data_dir: the folder of the new data set; it must hold none yet.

    Returns:
        The number of shards.

    Raises:
        UserError: there is a data set already, the repository holds none, or a file is damaged.
    """
    data_dir = Path(data_dir)
    if (data_dir / "dataset.json").exists() or (data_dir / "ledger.sqlite").exists():
        raise UserError(f"{data_dir} holds a data set already: give another folder as --data")
    draft = data_dir / ".pull"
    pull_folder(address, draft, files=["dataset.json", "data/*.parquet"])
    if not (draft / "dataset.json").is_file():
        raise UserError(f"hf://{address.repo} has no dataset.json: it is not from `musclemap push`")
    info = read_dataset_info(draft)
    found = {
        name: path
        for path in sorted((draft / "data").glob("*.parquet"))
        if (name := shard_of(path.name)) is not None
    }
    listed = {name: entry["sha256"] for name, entry in info["shards"].items()}
    if found.keys() != listed.keys():
        raise UserError(f"hf://{address.repo} does not hold the shards that its dataset.json lists")
    for name, path in found.items():
        if file_sha256(path) != listed[name]:
            path.unlink()
            raise UserError(f"{name} is damaged and was deleted: run the same command again")
    (data_dir / "shards").mkdir(exist_ok=True)
    for name, path in found.items():
        path.replace(data_dir / "shards" / name)
    (draft / "dataset.json").replace(data_dir / "dataset.json")
    shutil.rmtree(draft)
    return len(found)
