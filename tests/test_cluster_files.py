"""The files for Slurm and Kubernetes: parsed, and the script run with stand-ins."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import yaml

from tests.conftest import REPOSITORY

FILES = REPOSITORY / "docs" / "cluster"
STAND_IN = """#!/bin/bash
echo "$(basename "$0") $*" >> "$SAID"
while [[ $# -gt 0 && $1 == -* ]]; do shift; done
[[ $(basename "$0") == srun ]] && exec "$@"
[[ $(basename "$0") == scontrol ]] && printf 'node7\\nnode8\\nnode9\\n'
if [[ $(basename "$0") == ray ]]; then
    while [[ $1 != -- ]]; do shift; done
    shift
    exec "$@"
fi
exit 0
"""


def run_script(folder: Path, *words: str) -> tuple[int, list[str]]:
    """The exit status, and what was called in the places of Slurm, Ray and MuscleMap."""
    for name in ("srun", "scontrol", "ray", "musclemap"):
        (folder / name).write_text(STAND_IN)
        (folder / name).chmod(0o755)
    said = folder / "said"
    said.touch()
    environment = {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "SAID": str(said),
        "SLURM_JOB_NODELIST": "node[7-9]",
        "SLURM_JOB_NUM_NODES": "3",
    }
    done = subprocess.run(
        ["/bin/bash", FILES / "slurm.sh", *words], env=environment, stderr=subprocess.DEVNULL
    )
    return done.returncode, said.read_text().splitlines()


def test_the_slurm_script_starts_ray_on_all_nodes_and_extracts_once(tmp_path):
    code, said = run_script(tmp_path, "/mnt/my set", "--modalities", "rgb,flow")
    assert code == 0
    assert said == [
        "scontrol show hostnames node[7-9]",
        "srun --nodes=3 --ntasks=3 ray symmetric-run --address node7:6379 --min-nodes 3 -- "
        "musclemap extract-modalities --engine ray --data /mnt/my set --modalities rgb,flow",
        "ray symmetric-run --address node7:6379 --min-nodes 3 -- "
        "musclemap extract-modalities --engine ray --data /mnt/my set --modalities rgb,flow",
        "musclemap extract-modalities --engine ray --data /mnt/my set --modalities rgb,flow",
    ]


def test_the_slurm_script_asks_for_the_data_set(tmp_path):
    code, said = run_script(tmp_path)
    assert code != 0
    assert said == []


def test_the_slurm_options_are_whole_nodes_with_one_ray_each():
    text = (FILES / "slurm.sh").read_text()
    options = dict(
        line.removeprefix("#SBATCH --").partition("=")[::2]
        for line in text.splitlines()
        if line.startswith("#SBATCH")
    )
    assert options["ntasks-per-node"] == "1"
    assert "exclusive" in options


def test_all_pods_mount_the_data_set_that_the_job_builds():
    job = yaml.safe_load((FILES / "rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    words = job["spec"]["entrypoint"].split()
    assert words[:4] == ["musclemap", "extract-modalities", "--engine", "ray"]
    data = Path(words[words.index("--data") + 1])
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    images = set()
    for group in groups:
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = group["template"]["spec"]
        claims = {
            volume["name"]: volume["persistentVolumeClaim"]["claimName"]
            for volume in pod["volumes"]
        }
        for container in pod["containers"]:
            images.add(container["image"])
            mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
            place = next(path for path in mounts if data.is_relative_to(path))
            assert claims[mounts[place]] == "musclemap-data"
    assert len(images) == 1  # the same versions on all nodes
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_the_image_has_the_tested_version_of_ray():
    found = re.findall(r"ray\[default\]==([\d.]+)", (FILES / "Dockerfile").read_text())
    tested = re.findall(r"^ray==(.+)$", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE)
    assert found == tested
