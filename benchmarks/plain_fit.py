"""Is a missed accuracy the fault of our training, or of the images?

`python -m benchmarks.plain_fit MEMBER --data data/packed` trains the network of a member of params.yaml by
Keras' own `fit` on arrays in memory, as the books' listings do, without our loader, loop and callbacks, and
by ours on the same images with the same seed.
"""

from pathlib import Path

from stages import cli
from stages.common.errors import ParamsError
from stages.common.keras_import import import_keras
from stages.data import store
from stages.models import learners, networks
from stages.models.learners import cnn
from stages.models.protocols import Learner, LearnerParams


@cli.command(params="models.{name}")
def compare(name: str, *, params: LearnerParams, data: Path) -> None:
    """Print the test accuracy of both trainings.

    Args:
        name: A member of params.yaml whose learner is a network, without augment, patch and train.steps.
        params: The member's params.
        data: The folder of packed images.

    Raises:
        ParamsError: When the member's learner is no network, or has what `fit` has not.
    """
    if not isinstance(params, cnn.Params):
        raise ParamsError(f"models.{name} is of kind {params.kind}; must be cnn")
    if params.augment or params.patch or params.train.steps:
        raise ParamsError(f"models.{name} has augment, patch or train.steps; Keras' fit has none of them")
    learner = learners.create(params)
    with store.Reader(data / "train.h5") as train, store.Reader(data / "val.h5") as val:
        learner.fit(train, val, lambda *_: None)
        plain = fit(params, train)
    print(f"{name}: test accuracy {accuracy(learner, data):.4f}, by Keras' fit {accuracy(plain, data):.4f}")


def fit(params: cnn.Params, train: store.Reader) -> cnn.Network:
    """Train the member's network by Keras' `fit`.

    Args:
        params: Network, optimizer, epochs, batch size, class weights and seed; other settings are not read.
        train: The images and labels.
    """
    import_keras()
    import keras

    from stages.models.training import optimizers, regularization

    settings, classes, images = params.train, len(train.provenance["classes"]), train.read(0, len(train))
    labels = train.column("labels")
    assert settings.epochs is not None
    keras.utils.set_random_seed(settings.seed)
    statistics = train.provenance["stats"] if params.normalize == "standardize" else None
    model = networks.build(params.network, train.shape[1:], classes, statistics, params.options)
    steps = -(-len(images) // settings.batch_size)
    model.compile(
        optimizers.build(params.optimizer, steps, steps * settings.epochs), "sparse_categorical_crossentropy"
    )
    balanced = settings.class_weights == "balanced"
    weights = dict(enumerate(regularization.class_weights(labels, classes))) if balanced else None
    model.fit(images, labels, settings.batch_size, settings.epochs, verbose=0, class_weight=weights)
    return cnn.Network(model, params)


def accuracy(learner: Learner, data: Path) -> float:
    """The share of test images whose most probable class is their label."""
    with store.Reader(data / "test.h5") as test:
        return float(
            (learner.predict_proba(test.read(0, len(test))).argmax(axis=1) == test.column("labels")).mean()
        )


if __name__ == "__main__":
    cli.main(compare)
