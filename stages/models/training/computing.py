"""Precision and determinism of a training."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras

from stages.common import keras_import
from stages.common.errors import LearnerError

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
_CPUINFO = Path("/proc/cpuinfo")
# x86 and ARM.
_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}


@contextmanager
def precision(name: str) -> Iterator[None]:
    """Let networks that are built in this block compute in `name`; their weights stay float32.

    float16 scales the loss by itself (Keras' LossScaleOptimizer); bfloat16 has float32's range.

    Args:
        name: float32, bfloat16 or float16.

    Raises:
        LearnerError: this machine would only emulate it: float16 on a CPU runs at 1/200 of float32's speed.
    """
    if reason := _refused(name):
        raise LearnerError(f"train.precision is {name}; {reason}")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(_POLICIES[name])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def deterministic() -> None:
    """Let TensorFlow compute the same bits in each run on the same machine, from now on.

    It reads the environment variable once; nothing here imports TensorFlow. JAX on a CPU is deterministic
    without it. On a CPU the cost is too small to measure: LeNet and MiniVGGNet train as fast with it. On a
    GPU deterministic kernels are slower, and operations that have none stop the training.
    """
    os.environ["TF_DETERMINISTIC_OPS"] = "1"


def _refused(name: str) -> str | None:
    """The reason why this machine should not compute in this precision, or None."""
    if name == "float32" or keras_import.gpus():
        return None
    if name == "float16":
        return "it needs a GPU: use float32 or bfloat16"
    flags = set(_CPUINFO.read_text(encoding="utf-8").split()) if _CPUINFO.exists() else set()
    return None if flags & _BFLOAT16 else "this CPU has no instructions for it: use float32"
