"""The Hugging Face Hub: ``hf://`` addresses, a connection, and how a pushed data set lies there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from musclemap_data.catalog import SPLITS
from musclemap_data.errors import UserError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_ADDRESS = re.compile(
    r"hf://(?:(?P<kind>datasets|models)/)?(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?"
)
_SHARD = re.compile(rf"((?:{'|'.join(SPLITS)})-\d{{5,}})-of-\d{{5,}}\.parquet")


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
        raise UserError(f"{text} is the address of a {said}; what is wanted is a {kind}")
    return HubAddress(found["repo"], said or kind or "dataset", found["revision"])


def shard_of(name: str) -> str | None:
    """The shard's own name of a file in ``data/``; None if it is none of a pushed data set.

    ``train-00000-of-00003.parquet`` is ``train-00000.parquet``.
    """
    found = _SHARD.fullmatch(name)
    return f"{found[1]}.parquet" if found else None


def newest_commit(address: HubAddress) -> str:
    """The commit that an address stands for now.

    Raises:
        UserError: no network, no such repository or revision, or no right to read it.
    """
    with connected(address) as api:
        found = api.repo_info(address.repo, repo_type=address.kind, revision=address.revision)
        return str(found.sha)


@contextmanager
def connected(address: HubAddress) -> Iterator[HfApi]:
    """The Hub, whose refusals become messages that say what to do.

    Raises:
        UserError: no package, no network, no such repository, or no right to use it.
    """
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
