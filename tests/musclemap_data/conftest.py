"""On loopback: S3 (moto) and a stand-in for the Hub, which count what they send; two Ray nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.musclemap_data.hub_server import TOKEN, Hub, stand_in_hub


class Counted:
    """A WSGI application that counts the bytes it sends, by object."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.sent: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        content = list(self.app(environ, start_response))
        if environ["REQUEST_METHOD"] == "GET" and not environ["PATH_INFO"].endswith("/bucket"):
            self.sent[environ["PATH_INFO"]] += sum(map(len, content))
            self.requests[environ["PATH_INFO"]] += 1
        return content

    def sent_of(self, part: str) -> int:
        """Bytes of the objects whose path holds this."""
        return sum(size for path, size in self.sent.items() if part in path)


@pytest.fixture(scope="session")  # fsspec keeps its connections for the whole process
def counted() -> Iterator[tuple[str, Counted]]:
    """(address of the server, its counts)."""
    moto = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    running._server.app = counts = Counted(running._server.app)
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}", counts
    running.stop()


@pytest.fixture
def files(counted, monkeypatch, tmp_path):
    """The server's file system, with an empty bucket; the cache is the test's own."""
    import fsspec

    for name, value in {
        "AWS_ENDPOINT_URL": counted[0],
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
        "MUSCLEMAP_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    found = fsspec.filesystem("s3", use_listings_cache=False)
    found.mkdir("bucket")
    yield found
    found.rm("bucket", recursive=True)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """The Hub, which knows our token; the cache is the test's own."""
    from huggingface_hub import constants

    with stand_in_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("MUSCLEMAP_CACHE", str(tmp_path / "cache"))
        yield server


def add_second_node(cluster):
    """A node that knows that it is the second one."""
    memory = 80 * 2**20
    return cluster.add_node(num_cpus=1, object_store_memory=memory, env_vars={"SECOND_NODE": "1"})


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one core each; (the cluster, a list of the second node while it is alive)."""
    real_ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    memory = 80 * 2**20
    head = {
        "num_cpus": 1,
        "object_store_memory": memory,
        "include_dashboard": False,
        "_system_config": {"health_check_period_ms": 500, "health_check_failure_threshold": 10},
    }
    cluster = Cluster(initialize_head=True, head_node_args=head)
    yield cluster, [add_second_node(cluster)]
    real_ray.shutdown()
    cluster.shutdown()
