"""Take files through probe, cut and decode, within limits; one JSON line for each.

python -m tests.fuzz.media_worker OUT_FOLDER FILE...
"""

from __future__ import annotations

import json
import resource
import sys
import traceback
from pathlib import Path

from musclemap_data.errors import StageError
from musclemap_data.extract.cut import cut_clip
from musclemap_data.extract.decode import Limits, iterate_frames
from musclemap_data.extract.source import probe
from musclemap_data.modalities.settings import CutSettings

MOST_BYTES_OF_MEMORY = 3 * 2**30
MOST_SECONDS_OF_CPU = 120
LIMITS = Limits(most_frames=2000, most_cut_s=20)


def outcome(path: Path, out: Path) -> dict[str, object]:
    """What became of a file: frames, or a failure, or (what must not be) another exception."""
    cut = out / "cut.mp4"
    try:
        probe(path, stage="download", limits=LIMITS)
        cut_clip(path, cut, 0.0, None, CutSettings(), LIMITS)
        shapes = [frame.shape for frame in iterate_frames(cut)]
        return {"frames": len(shapes), "height": shapes[0][0], "width": shapes[0][1]}
    except StageError as error:
        failure = error.failure
        kind = str(failure.failure_class)
        return {"stage": failure.stage, "class": kind, "reason": failure.reason}
    except Exception:
        return {"traceback": traceback.format_exc()}
    finally:
        cut.unlink(missing_ok=True)


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES_OF_MEMORY,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS_OF_CPU,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out, *names = sys.argv[1:]
    for name in names:
        print(json.dumps({"name": Path(name).name}), end="\n", flush=True)  # names a crash
        result = outcome(Path(name), Path(out))
        print(json.dumps({"name": Path(name).name, **result}), flush=True)


if __name__ == "__main__":
    main()
