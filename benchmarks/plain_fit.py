"""Is a missed accuracy the fault of our training, or of the images?

`python -m benchmarks.plain_fit MEMBER --data data/packed --seeds 1 2 3` trains the network of a member of
params.yaml as the stage does, and by Keras' own `fit` on arrays in memory, as the books' listings do: without
our loader, loop and callbacks.
"""

from pathlib import Path

import numpy as np

from benchmarks import trainings
from stages import cli
from stages.common.errors import ParamsError
from stages.common.keras_import import import_keras
from stages.data import store
from stages.models import networks
from stages.models.learners import cnn
from stages.models.protocols import LearnerParams
from stages.scoring import differences


@cli.command(params="models.{name}")
def compare(
    name: str,
    *,
    params: LearnerParams,
    data: Path,
    seeds: trainings.Seeds = [42],  # noqa: B006 (never changed)
) -> None:
    """Print the test accuracy of both trainings, and the interval of their difference.

    Args:
        name: A member of params.yaml whose learner is a network, without augment, patch and train.steps.
        params: The member's params.
        data: The folder of packed images.
        seeds: Train once per seed; the split stays the same.

    Raises:
        ParamsError: When the member's learner is no network, or has what `fit` has not.
    """
    member = trainings.network(name, params)
    if member.augment or member.patch or member.train.steps:
        raise ParamsError(f"models.{name} has augment, patch or train.steps; Keras' fit has none of them")
    gains = []
    for seed in seeds:
        seeded = trainings.seeded(member, seed)
        ours = trainings.correct(trainings.train(seeded, data), data)
        plain = trainings.correct(fit(seeded, data), data)
        gains.append(ours - plain)
        print(
            f"{name}, seed {seed}: test accuracy {ours.mean():.4f}, Keras' fit {plain.mean():.4f}", flush=True
        )
    gain, low, high = differences.paired(np.mean(gains, axis=0), trainings.TAIL)
    print(f"difference {gain:.4f}, 95 % interval for other test images {low:.4f} to {high:.4f}")


def fit(params: cnn.Params, packed: Path) -> cnn.Network:
    """Train the member's network by Keras' `fit`.

    Args:
        params: Network, optimizer, epochs, batch size, class weights and seed; other settings are not read.
        packed: The folder of packed images.
    """
    import_keras()
    import keras

    from stages.models.training import optimizers, regularization

    settings = params.train
    with store.Reader(packed / "train.h5") as train:
        images, labels, provenance = train.read(0, len(train)), train.column("labels"), train.provenance
    classes = len(provenance["classes"])
    assert settings.epochs is not None
    keras.utils.set_random_seed(settings.seed)
    statistics = provenance["stats"] if params.normalize == "standardize" else None
    model = networks.build(params.network, images.shape[1:], classes, statistics, params.options)
    steps = -(-len(images) // settings.batch_size)
    model.compile(
        optimizers.build(params.optimizer, steps, steps * settings.epochs), "sparse_categorical_crossentropy"
    )
    balanced = settings.class_weights == "balanced"
    weights = dict(enumerate(regularization.class_weights(labels, classes))) if balanced else None
    model.fit(images, labels, settings.batch_size, settings.epochs, verbose=0, class_weight=weights)
    return cnn.Network(model, params)


if __name__ == "__main__":
    cli.main(compare)
