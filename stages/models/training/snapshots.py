"""Snapshot ensembles: one training whose rate starts anew in each cycle, and the average of its cycles' ends.

Huang et al., Snapshot Ensembles, arXiv:1704.00109; the Practitioner Bundle (ch. 6) names them as the ensemble
for the price of one training. A schedule `{kind: cosine, cycles: M}` and `train.keep: snapshots` give one
network of M branches.
"""

from collections.abc import Sequence
from pathlib import Path

import keras

from stages.models.training import epoch_checkpoints
from stages.models.training.callbacks import assign

# In the folder of a training.
FOLDER = "snapshots"


def averaged(model: keras.Model, files: Sequence[Path]) -> keras.Model:
    """Build the network that averages the probabilities of a network with several weights.

    Args:
        model: images uint8 (N, H, W, C) → probabilities (N, K).
        files: checkpoints of epochs of this network.

    Returns:
        A network of the same inputs and outputs, with a branch for each file.

    Raises:
        LearnerError: a file is no checkpoint.
    """
    pixels = keras.Input(model.input_shape[1:], dtype=model.input.dtype, name="pixels")
    branches = []
    for number, file in enumerate(files, 1):
        branch = keras.models.clone_model(model)
        assign(branch.variables, epoch_checkpoints.read(file).model)
        branches.append(keras.Model(branch.input, branch.output, name=f"snapshot_{number}")(pixels))
    return keras.Model(pixels, keras.layers.Average(dtype="float32")(branches), name=model.name)
