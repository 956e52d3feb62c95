"""An ONNX model given by the user, loaded for ONNX Runtime."""

from pathlib import Path
from typing import Any

from musclemap_data.errors import UserError
from musclemap_data.pose.estimator import check_device


def load_session(model: bytes, source: str | Path, device: str | None = None) -> Any:
    """An ``onnxruntime.InferenceSession`` of one thread.

    Args:
        model: the content of the .onnx file. From bytes and not from a path, so that a model
            cannot name other files of this machine as its data.
        source: what the user called it, for messages.
        device: "cpu" or "cuda"; None for the GPU where ONNX Runtime has one.

    Raises:
        UserError: onnxruntime is not installed or has no such device; not a model it can load.
    """
    check_device(device)
    try:
        import onnxruntime
    except ImportError:
        raise UserError(
            "ONNX models need onnxruntime, which is not installed: pip install 'musclemap[rtmpose]'"
        ) from None
    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device == "cuda" and not has_cuda:
        raise UserError(
            "this onnxruntime runs on the CPU only: pip install onnxruntime-gpu in its place, or "
            "leave --device cuda out"
        )
    providers = ["CPUExecutionProvider"]
    if has_cuda and device != "cpu":
        providers.insert(0, "CUDAExecutionProvider")
    # One thread: clips are the unit of parallel work, and results do not vary.
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model, options, providers=providers)
    except Exception as error:  # ONNX Runtime's own, of many classes
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{source} is not a model ONNX Runtime can load: {reason}") from None
