"""Data sets and runs on the Hugging Face Hub, by ``hf://`` addresses.

The rest of this package does not know the Hub: it makes a folder, which is sent or fetched here.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musclemap_data.catalog import SPLITS
from musclemap_data.errors import UserError
from musclemap_data.export.bare import without_pictures
from musclemap_data.export.contents import read_contents
from musclemap_data.export.datasets_folder import place_shards, write_croissant, write_hf_readme
from musclemap_data.files import file_sha256, working_folder, write_text
from musclemap_data.shards import dataset_info_text, read_dataset_info

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_ADDRESS = re.compile(
    r"hf://(?:(?P<kind>datasets|models)/)?(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?"
)
_SHARD = re.compile(rf"data/(?P<shard>(?:{'|'.join(SPLITS)})-\d{{5}})-of-\d{{5}}\.parquet")


@dataclass(frozen=True)
class HubAddress:
    """A repository of the Hub.

    Attributes:
        repo: OWNER/NAME.
        kind: ``dataset`` or ``model``.
        revision: a branch, a tag or a commit; None is the newest.
    """

    repo: str
    kind: str
    revision: str | None = None


def read_address(text: str, *, kind: str | None = None) -> HubAddress:
    """Read ``hf://[datasets/|models/]OWNER/NAME[@REVISION]``.

    Args:
        kind: ``dataset`` or ``model``, where the caller knows it. Else a data set, if not said.

    Raises:
        UserError: no such address, or of the other kind.
    """
    found = _ADDRESS.fullmatch(text)
    if not found:
        raise UserError(f"{text} is no address of the Hub: write hf://OWNER/NAME")
    said = found["kind"] and found["kind"].removesuffix("s")
    if kind and said and said != kind:
        raise UserError(f"{text} is the address of a {said}; what is sent is a {kind}")
    return HubAddress(found["repo"], said or kind or "dataset", found["revision"])


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
    with _hub(address) as api:
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
    with _hub(address) as api:
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
    found = {}
    for path in sorted((draft / "data").glob("*.parquet")):
        if match := _SHARD.fullmatch(path.relative_to(draft).as_posix()):
            found[f"{match['shard']}.parquet"] = path
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


@contextmanager
def _hub(address: HubAddress) -> Iterator[HfApi]:
    """The Hub, whose refusals become messages that say what to do."""
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise UserError("The Hub needs huggingface_hub: pip install 'musclemap[hub]'") from error
    where = f"hf://{address.repo}"
    try:
        yield huggingface_hub.HfApi(os.environ.get("HF_ENDPOINT"), library_name="musclemap")
    except (errors.LocalTokenNotFoundError, errors.RepositoryNotFoundError) as error:
        raise UserError(
            f"{where} is not there, or you may not see it. Log in with `hf auth login`, or put a "
            "token that may read or write it into HF_TOKEN."
        ) from error
    except errors.HfHubHTTPError as error:
        raise UserError(f"The Hub refused {where}: {_first_line(error)}") from error
    except _network_errors() as error:
        raise UserError(
            f"The Hub cannot be reached for {where}: {_first_line(error)}. What was sent or "
            "fetched is kept: run the same command again."
        ) from error


def _network_errors() -> tuple[type[Exception], ...]:
    """What the HTTP library raises: httpx since version 1 of huggingface_hub, requests before."""
    try:
        import httpx
    except ImportError:
        return (ConnectionError, TimeoutError)
    return (ConnectionError, TimeoutError, httpx.HTTPError)


def _first_line(error: Any) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
