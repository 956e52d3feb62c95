"""A small stand-in for the Hugging Face Hub on loopback: repositories in memory.

It knows the calls that ``huggingface_hub`` makes to create a repository, send a folder (small files
in the commit, large ones through Git LFS), fetch a snapshot, list a folder and read parts of files.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

TOKEN = "hf_stand_in"
COMMIT = "c" * 40


class Hub(ThreadingHTTPServer):
    """``files`` maps (kind with an s, OWNER/NAME) to path -> content; ``blobs`` is LFS by hash.

    ``sent`` counts the bytes of each path that were sent, ``commit`` is that of all repositories.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[tuple[str, str], dict[str, bytes]] = {}
        self.blobs: dict[str, bytes] = {}
        self.sent = Counter[str]()
        self.commit = COMMIT
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, content: Any, status: int = 200, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refuse(self, status: int, code: str = "") -> None:
        self._answer({"error": "no"}, status, **({"X_Error_Code": code} if code else {}))

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.blobs[hashlib.sha256(content).hexdigest()] = content
        self._answer({})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._refuse(401)
        elif self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            kind = f"{asked.get('type') or 'model'}s"
            self.server.files.setdefault((kind, name), {})
            self._answer({"url": f"{self.server.url}/{kind}/{name}"})
        elif self.path == "/api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        elif found := re.fullmatch(r"/api/(\w+)/([^/]+/[^/]+)/preupload/main", self.path):
            files = json.loads(body)["files"]
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".parquet") else "regular",
                    "shouldIgnore": False,
                }
                for file in files
            ]
            self._answer({"files": modes})
        elif self.path.endswith("/info/lfs/objects/batch"):
            objects = [
                each | {"actions": {"upload": {"href": f"{self.server.url}/lfs/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]
            self._answer({"transfer": "basic", "objects": objects})
        elif found := re.fullmatch(r"/api/(\w+)/([^/]+/[^/]+)/commit/main", self.path):
            self._commit(self.server.files[found[1], found[2]], body)
            url = f"{self.server.url}/{found[1]}/{found[2]}/commit/{COMMIT}"
            self._answer({"commitUrl": url, "commitOid": COMMIT, "success": True})
        else:
            self._refuse(404)

    def _commit(self, repository: dict[str, bytes], body: bytes) -> None:
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                repository[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repository[value["path"]] = self.server.blobs[value["oid"]]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if found := re.fullmatch(r"/api/(\w+)/([^/]+/[^/]+)(/revision/\w+)?", path):
            repository = self.server.files.get((found[1], found[2]))
            if repository is None:
                self._refuse(404, "RepoNotFound")
                return
            siblings = [{"rfilename": name} for name in repository]
            self._answer(
                {"id": found[2], "sha": self.server.commit, "siblings": siblings, "private": False}
            )
        elif found := re.fullmatch(r"/api/(\w+)/([^/]+/[^/]+)/tree/\w+(?:/(.+))?", path):
            repository = self.server.files[found[1], found[2]]
            self._answer(_listed(repository, found[3], "recursive=true" in self.path.lower()))
        elif found := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/\w+/(.+)", path):
            kind = "datasets" if found[1] else "models"
            content = self.server.files[kind, found[2]].get(found[3].replace("%2F", "/"))
            if content is None:
                self._refuse(404, "EntryNotFound")
            else:
                self._send(found[3].replace("%2F", "/"), content)
        else:
            self._refuse(404)

    def _send(self, path: str, content: bytes) -> None:
        tag, status = f'"{_etag(content)}"', 200
        if asked := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            content, status = content[int(asked[1]) : int(asked[2]) + 1], 206
        if self.command == "GET":
            self.server.sent[path] += len(content)
        self._answer(content, status, X_Repo_Commit=self.server.commit, ETag=tag)


def _listed(
    repository: dict[str, bytes], folder: str | None, recursive: bool
) -> list[dict[str, Any]]:
    """What is in a folder of a repository."""
    start = f"{folder}/" if folder else ""
    below = {name: name[len(start) :] for name in repository if name.startswith(start)}
    found = [
        {"type": "file", "path": name, "size": len(repository[name])}
        | {"oid": _etag(repository[name])}
        for name, rest in below.items()
        if recursive or "/" not in rest
    ]
    folders = {rest.partition("/")[0] for rest in below.values() if "/" in rest}
    return found + [
        {"type": "directory", "path": start + name, "oid": "d" * 40} for name in sorted(folders)
    ]


def _etag(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


@contextmanager
def stand_in_hub() -> Iterator[Hub]:
    """The server, until the end of the block."""
    with Hub() as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
