"""How far TransM3E's tokens have collapsed: ``python -m tests.bench.bench_tokens DATA RUN ...``.

For each finished run of ``transm3e``: the mean cosine between two different tokens of a test clip,
for the classification tokens of the video, the receivers, and the fused tokens.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from benchmark.data import ClipDataset
from benchmark.loader import collate
from benchmark.machine import to_device
from benchmark.models.transm3e import TransM3E, token_cosine
from benchmark.predict.runs import load_run

SPLITS = ("test_known", "test_new")


def cosines(data: Path, run_dir: Path) -> dict[str, float]:
    """Kind of token -> mean cosine over the first view of every test clip."""
    run = load_run(run_dir, device_name="cpu")
    model = run.model
    if not isinstance(model, TransM3E):
        raise SystemExit(f"{run_dir} is a run of {run.record.model}, not of transm3e")
    clips = ClipDataset(data, SPLITS, model.modalities, run.settings, train=False)
    firsts = {clip: item for item, (clip, _) in reversed(list(enumerate(clips.items)))}
    found: dict[str, list[float]] = {}
    with torch.inference_mode():
        for item in firsts.values():
            batch = to_device(collate([clips[item]]), torch.device("cpu"), run.settings)
            fused, video, _ = model.eval().fuse(batch)
            kinds = {"video": video.classification, "receivers": video.distillation, "fused": fused}
            for kind, tokens in kinds.items():
                found.setdefault(kind, []).append(float(token_cosine(tokens)))
    return {kind: sum(values) / len(values) for kind, values in found.items()}


if __name__ == "__main__":
    for name in sys.argv[2:]:
        values = cosines(Path(sys.argv[1]), Path(name))
        print(Path(name).name, *(f"{kind} {value:.3f}" for kind, value in values.items()))
