"""What the curves of a training say in words, what that rests on, and what to try next.

The shapes and the advice are the books': Starter Bundle ch. 17 (curves), Practitioner Bundle ch. 8 (Andrew
Ng's four splits, transfer or scratch). They draw shapes and name no numbers; the thresholds are ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stages.data.manifest import ENOUGH_PER_CLASS

FILE = "diagnosis.json"

Series = Mapping[str, Sequence[float]]

# Fewer epochs than this are no curve yet.
_CURVE = 5
# Differences of errors (shares of images) up to this are taken for chance.
_TOLERATED = 0.05
# The val loss rises when it ends this much above its least.
_RISEN = 1.05


@dataclass(frozen=True)
class Finding:
    """One line of a diagnosis: what it is called, the figure it rests on, what to try, who says so."""

    name: str
    figure: str
    advice: str
    source: str


def of_training(history: Series, images: Sequence[int]) -> list[Finding]:
    """Everything that a network's history and its train split's `images` of each class tell.

    `history` as stages.models.training.loop.Trainer makes it; of several phases the last one counts.
    """
    phase = np.asarray(history["phase"])
    last = {name: np.asarray(values)[phase == phase[-1]] for name, values in history.items()}
    found = [
        learning_rate(last["loss"]),
        overfitting(last["epoch"], last["loss"], last["val_loss"]),
        easier_val(last["loss"], last["val_loss"]),
        bias_or_variance(train=1 - last["accuracy"][-1], val=1 - last["val_accuracy"][-1]),
        transfer_or_scratch(images) if phase[-1] == 1 else None,
    ]
    return [finding for finding in found if finding]


def learning_rate(train_loss: Sequence[float]) -> Finding | None:
    """Whether the train loss (E,) has the shape of a rate that is too high or too low; None if neither."""
    loss = np.asarray(train_loss)
    source = "Starter Bundle ch. 17, figure 17.2"
    if len(loss) < _CURVE:
        return None
    least = int(loss.argmin())
    if loss[-1] > 2 * loss[least]:
        return Finding(
            "learning rate too high",
            f"train loss {loss[least]:.3g} in epoch {least + 1} of these, {loss[-1]:.3g} at the end",
            "divide optimizer.learning_rate by 10, or set optimizer.global_clipnorm",
            source,
        )
    fall = loss[0] - loss.min()
    # The share of the whole fall that is done after each epoch, and the share that a straight line has done.
    done = (loss[0] - loss) / fall if fall > 0 else np.zeros(len(loss))
    line = np.linspace(0, 1, len(loss))
    tenth, early = len(loss) // 10 + 1, 0.9
    if fall > 0 and done[tenth] >= early and loss[-1] > 0.5 * loss[0]:
        return Finding(
            "learning rate high",
            f"{done[tenth]:.0%} of the train loss's fall in the first {tenth + 1} of {len(loss)} epochs, "
            f"then it stays at {loss[-1]:.3g}",
            "halve optimizer.learning_rate, or let optimizer.schedule lower it",
            source,
        )
    if fall > 0 and np.abs(done - line).max() < 0.1:
        return Finding(
            "learning rate low",
            f"the train loss falls on a straight line, from {loss[0]:.3g} to {loss[-1]:.3g}",
            "multiply optimizer.learning_rate by 3 to 10, or train longer",
            source,
        )
    return None


def overfitting(epoch: Sequence[float], loss: Sequence[float], val_loss: Sequence[float]) -> Finding | None:
    """From which epoch on the val loss (E,) rises while the train loss falls; None where it does not."""
    if len(loss) < _CURVE:
        return None
    least = int(np.argmin(val_loss))
    end = float(np.mean(val_loss[-3:]))
    if end <= _RISEN * val_loss[least] or loss[-1] >= loss[least]:
        return None
    return Finding(
        f"overfitting from epoch {epoch[least]:.0f} on",
        f"val loss {val_loss[least]:.3g} there and {end:.3g} at the end, while the train loss fell from "
        f"{loss[least]:.3g} to {loss[-1]:.3g}",
        "regularize (augment, train.l2, dropout) before making the network smaller; train.keep: best or "
        "train.early_stopping keep what was best",
        "Starter Bundle ch. 17; Practitioner Bundle ch. 12",
    )


def easier_val(loss: Sequence[float], val_loss: Sequence[float]) -> Finding | None:
    """Why the val loss may end below the train loss; None where it does not."""
    if len(loss) < _CURVE or val_loss[-1] >= 0.95 * loss[-1]:
        return None
    return Finding(
        "val loss below train loss",
        f"val {val_loss[-1]:.3g}, train {loss[-1]:.3g}",
        "expected with augmentation and dropout, which only training has; without them, train harder or look "
        "whether the val split is easier",
        "Starter Bundle ch. 17",
    )


def bias_or_variance(
    *,
    train: float,
    val: float,
    train_val: float | None = None,
    test: float | None = None,
    wanted: float = 0.0,
) -> Finding:
    """The first of Ng's four checks that fails; errors are shares of images from 0 to 1.

    `train_val` is the error on a slice of the train split's own distribution that was not trained on. Where
    val comes from the same source as train, as it does unless a source names its splits, val is that slice.
    `wanted` is the error that cannot be had lower, such as people's.
    """
    source = "Practitioner Bundle ch. 8, figure 8.3"
    unseen = val if train_val is None else train_val
    if train - wanted > _TOLERATED:
        return Finding(
            "underfitting (bias)",
            f"train error {train:.3f}, wanted {wanted:.3f}",
            "a deeper or wider network; longer training with a tuned rate; then another architecture",
            source,
        )
    if unseen - train > _TOLERATED:
        name = "val" if train_val is None else "train-val"
        return Finding(
            "high variance",
            f"train error {train:.3f}, {name} error {unseen:.3f}",
            "more regularization (augment, dropout, train.l2); more such data; then another architecture",
            source,
        )
    if val - unseen > _TOLERATED:
        return Finding(
            "val differs from train",
            f"train-val error {unseen:.3f}, val error {val:.3f}",
            "make the train split resemble the val split, collect again if need be; then regularization",
            source,
        )
    if test is not None and test - val > _TOLERATED:
        return Finding(
            "overfitted to the val split",
            f"val error {val:.3f}, test error {test:.3f}",
            "a larger val split, and a larger train split",
            source,
        )
    return Finding(
        "balanced",
        f"train error {train:.3f}, val error {val:.3f}",
        "small gains are left: a longer schedule, an ensemble",
        source,
    )


def transfer_or_scratch(images: Sequence[int], similar: bool | None = None) -> Finding | None:
    """What the size of the train split, `images` of each class, says about a pretrained network.

    `similar` says whether the images are like those it was pretrained on (photographs of things, for
    ImageNet); None where nobody knows. None for a split that is neither small nor of known likeness.
    """
    mean = sum(images) / len(images)
    small = mean < ENOUGH_PER_CLASS
    advice = {
        (True, True): "features of its last layers and a linear classifier; fine-tuning would overfit",
        (True, False): "features of its lower layers and a linear classifier",
        (
            True,
            None,
        ): "features of a pretrained network and a linear classifier: of its last layers where the "
        "images are like ImageNet's, of lower ones where not",
        (False, True): "fine-tune a pretrained network; training from scratch is worth an experiment",
        (False, False): "fine-tune first, for a baseline; expect to need training from scratch",
    }.get((small, similar))
    if advice is None:
        return None
    return Finding(
        "small data set" if small else "large data set",
        f"{mean:.0f} train images of a class on average; "
        f"training from scratch wants {ENOUGH_PER_CLASS:,} to 5,000",
        advice,
        "Practitioner Bundle ch. 8, figure 8.4",
    )
