"""What Keras compiles a network with: loss, metrics and optimizer."""

import keras

from stages.data.loader import Loader
from stages.models.training import normalization, optimizers
from stages.models.training.optimizers import AnyOptimizer
from stages.models.training.settings import Settings


def compile_model(
    model: keras.Model, settings: Settings, optimizer: AnyOptimizer, batches: Loader, steps: int
) -> None:
    """Compile a network, and make the optimizer's variables.

    Args:
        model: the network.
        settings: label smoothing, metrics, XLA.
        optimizer: with its schedule.
        batches: those of the training; labels that are mixed or smoothed are soft.
        steps: how many batches the phase trains.
    """
    smoothing = settings.label_smoothing
    loss = (
        keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)
        if batches.soft
        else keras.losses.SparseCategoricalCrossentropy()
    )
    model.compile(
        optimizer=optimizers.build(optimizer, len(batches), steps),
        loss=loss,
        metrics=["accuracy", *_top5(settings, batches)],
        jit_compile=settings.xla,
    )
    normalization.fuse(model)
    model.optimizer.build(model.trainable_variables)


def _top5(settings: Settings, batches: Loader) -> list[keras.metrics.Metric]:
    if not settings.top5_accuracy:
        return []
    metrics = keras.metrics
    kind = metrics.TopKCategoricalAccuracy if batches.soft else metrics.SparseTopKCategoricalAccuracy
    return [kind(5, name="top5_accuracy")]
