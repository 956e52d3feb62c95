"""Downloads by the nodes of a Ray cluster (docs/cluster.md).

When which host is asked, how often again, and what became of it stay with the command, for all
nodes together: ten nodes ask a site no more often than one. A node fetches the video that it is
told to, into the folder that all of them see.
"""

from __future__ import annotations

import itertools
import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from musclemap_data.cluster import Marker, connected, import_ray
from musclemap_data.download import ytdlp
from musclemap_data.download.fetch import fetch_video
from musclemap_data.download.hosts import VideoTask
from musclemap_data.download.process import OwnProcesses
from musclemap_data.download.settings import DownloadSettings
from musclemap_data.errors import FailureClass, StageError, UserError
from musclemap_data.ledger.rows import VideoFacts

STARTED_WITHIN_S = 120.0


class Nodes:
    """As many processes on the nodes of a cluster as videos are fetched at once.

    All are started before the first host is asked, so that nothing lies between a host's turn and
    its request.

    Args:
        ray: the module, connected.
        videos_dir: the folder that all nodes see.
        seen: a file in it, by which they know it.
        settings, cookies: as for ``fetch_video``.

    Raises:
        UserError: a node does not see the folder.
    """

    def __init__(
        self, ray: Any, videos_dir: Path, seen: str, settings: DownloadSettings, cookies: str | None
    ) -> None:
        self._ray = ray
        self._seen = seen
        self._asked = (videos_dir.absolute(), settings, cookies)
        self._remote = ray.remote(_Fetcher)
        self._made = itertools.count()
        self._idle = queue.SimpleQueue[Any]()
        for fetcher in self._started(settings.workers):
            self._idle.put(fetcher)

    def _started(self, count: int) -> list[Any]:
        until = time.monotonic() + STARTED_WITHIN_S
        while True:
            fetchers = [self._one() for _ in range(count)]
            begun = [fetcher.start.remote(self._seen) for fetcher in fetchers]
            try:
                blind = [name for name in self._ray.get(begun, timeout=STARTED_WITHIN_S) if name]
                break
            except self._ray.exceptions.RayError as error:
                # Ray takes seconds to notice that a node is lost, and starts processes there.
                lost = isinstance(error, self._ray.exceptions.RayActorError)
                if not lost or time.monotonic() > until:
                    raise UserError(
                        f"the nodes of the Ray cluster cannot fetch videos: {error}"
                    ) from error
                for fetcher in fetchers:
                    self._ray.kill(fetcher)
        if blind:
            raise UserError(
                f"the node {blind[0]} does not see {self._asked[0]}. With --engine ray, --data of "
                "a download must be a folder that all nodes mount at the same path"
            )
        return fetchers

    def _one(self) -> Any:
        """On each node in turn: Ray's own strategy SPREAD may put all of them on one node."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        nodes = sorted(node["NodeID"] for node in self._ray.nodes() if node["Alive"])
        node = nodes[next(self._made) % len(nodes)]
        strategy = NodeAffinitySchedulingStrategy(node, soft=True)  # it may be lost by then
        return self._remote.options(num_cpus=0, scheduling_strategy=strategy).remote()

    def fetch(self, task: VideoTask, time_limit_s: float, stop: threading.Event) -> VideoFacts:
        """Have one video fetched. Called by as many threads as there are processes.

        Raises:
            StageError: as ``fetch_video``; class ``network`` where its node was lost.
            UserError: no node is left that could take its place.
        """
        fetcher = self._idle.get()
        try:
            outcome = fetcher.fetch.remote(task, *self._asked, time_limit_s)
            while not self._ray.wait([outcome], timeout=0.2)[0]:
                if stop.is_set():
                    self._ray.kill(fetcher)  # and with it what it has started
                    raise StageError("download", FailureClass.NETWORK, "interrupted")
            found: VideoFacts | StageError = self._ray.get(outcome)
        except self._ray.exceptions.RayActorError as error:
            fetcher = self._started(1)[0]
            reason = f"the node that fetched it was lost ({type(error).__name__})"
            raise StageError("download", FailureClass.NETWORK, reason) from error
        finally:
            self._idle.put(fetcher)
        if isinstance(found, StageError):
            raise found
        return found

    def close(self) -> None:
        """End all processes."""
        while not self._idle.empty():
            self._ray.kill(self._idle.get())


class _Fetcher:
    """A process on a node: yt-dlp runs in a process of its own there, too, that can be ended."""

    def __init__(self) -> None:
        self._processes = OwnProcesses(ytdlp.PRELOAD)

    def start(self, seen: str) -> str:
        """Load what a download needs.

        Returns:
            The name of this node if it does not see the folder, else "".
        """
        self._processes.call(str, (), STARTED_WITHIN_S, threading.Event())
        return "" if Path(seen).exists() else socket.gethostname()

    def fetch(
        self,
        task: VideoTask,
        videos_dir: Path,
        settings: DownloadSettings,
        cookies: str | None,
        time_limit_s: float,
    ) -> VideoFacts | StageError:
        """As ``fetch_video``; an error is returned, as Ray would wrap it."""
        never = threading.Event()
        try:
            return fetch_video(
                task, videos_dir, settings, cookies, self._processes, time_limit_s, never
            )
        except StageError as error:
            return error


@contextmanager
def on_nodes(
    videos_dir: Path, settings: DownloadSettings, cookies: str | None, address: str
) -> Iterator[Nodes]:
    """The nodes of a cluster, for the block.

    Raises:
        UserError: Ray is not installed, there is no cluster, or a node does not see the folder.
    """
    ray = import_ray()
    with connected(ray, address, settings.workers), Marker() as marker:
        nodes = Nodes(ray, videos_dir, marker.in_folder(videos_dir), settings, cookies)
        try:
            yield nodes
        finally:
            nodes.close()
