"""The benchmark: reads shards, trains, scores, draws. Only ``predict`` touches a video.

The verbs of the command line as functions, for a notebook::

    import benchmark

    benchmark.quickstart()  # everything once, on synthetic videos
    runs = "data/quickstart/data/runs"
    print(benchmark.compare_models("data/quickstart/data", ["random", "stgcn"]))
    print(benchmark.predict_video("my_squats.mp4", f"{runs}/stgcn-tiny-seed0", out="squats"))

Nothing is loaded before it is used, so that importing this package takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.commands.quickstart import quickstart as quickstart
    from benchmark.compare import compare_models as compare_models
    from benchmark.data import ClipDataset as ClipDataset
    from benchmark.finished import choose_run as choose_run
    from benchmark.finished import read_runs as read_runs
    from benchmark.predict.runs import load_run as load_run
    from benchmark.predict.video import predict_video as predict_video
    from benchmark.record import RunRecord as RunRecord
    from benchmark.report.figures import write_figures as write_figures
    from benchmark.report.page import write_report as write_report
    from benchmark.settings import Settings as Settings

_HOMES = {
    "ClipDataset": "data",
    "RunRecord": "record",
    "Settings": "settings",
    "choose_run": "finished",
    "compare_models": "compare",
    "load_run": "predict.runs",
    "predict_video": "predict.video",
    "quickstart": "commands.quickstart",
    "read_runs": "finished",
    "write_figures": "report.figures",
    "write_report": "report.page",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
