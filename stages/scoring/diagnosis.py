"""The learning curves of a network in words: what they show, the figure behind it, what to try next.

The shapes and the advice are the books': Starter Bundle ch. 17 (curves), Practitioner Bundle ch. 8 (Andrew
Ng's checks, transfer or scratch). The books draw shapes and name no numbers; the thresholds are ours.

Errors are of the delivered weights in inference mode, on train images without augmentation. A history's
`loss` and `accuracy` are not: they are running means with dropout, augmentation and mixed labels, which made
nearly every regularized network look too small. Only the shape of a curve is taken from them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stages.data.manifest import ENOUGH_PER_CLASS

FILE = "diagnosis.json"

Series = Mapping[str, Sequence[float]]

# Fewer epochs than this are no curve yet.
_CURVE = 5
# Differences of errors (shares of images) up to this are no finding, however certain they are.
_TOLERATED = 0.05
# Standard errors of a difference that chance explains.
_CHANCE = 2.0
# The val loss rises when it ends at this multiple of its minimum.
_RISEN = 1.05
# The val split is easier when its log loss is below this multiple of the train split's.
_EASIER = 0.95


@dataclass(frozen=True)
class Finding:
    """One line of a diagnosis.

    Attributes:
        name: what it is called.
        figure: the figures it follows from.
        advice: what to try next.
        source: the book's chapter.
    """

    name: str
    figure: str
    advice: str
    source: str


@dataclass(frozen=True)
class Fit:
    """The delivered weights on one split, in inference mode.

    Attributes:
        error: share of wrongly classified images, 0 to 1.
        log_loss: mean negative log probability of the label.
        images: number of images.
    """

    error: float
    log_loss: float
    images: int


def of_training(
    history: Series,
    images: Sequence[int],
    train: Fit,
    val: Fit,
    test: Fit,
    epoch: float,
    train_val: Fit | None = None,
) -> list[Finding]:
    """Diagnose one training.

    Args:
        history: series per epoch, as stages.models.training.loop.Trainer records them; of several phases the
            last one counts.
        images: number of train images of each class.
        train: the delivered weights on a sample of the train split, without augmentation.
        val: the delivered weights on the val split.
        test: the delivered weights on the test split.
        epoch: the epoch whose weights were delivered, from 1.
        train_val: the delivered weights on images held out of train, where there are such.

    Returns:
        The findings, at least one.
    """
    phase = np.asarray(history["phase"])
    last = {name: np.asarray(values)[phase == phase[-1]] for name, values in history.items()}
    findings = [
        learning_rate(last["loss"]),
        overfitting(last["epoch"], last["loss"], last["val_loss"], epoch),
        easier_val(train, val),
        first_failing_check(train, val, test, epoch, train_val),
        small_data(images) if phase[-1] == 1 else None,
    ]
    return [finding for finding in findings if finding]


def learning_rate(train_loss: Sequence[float]) -> Finding | None:
    """Whether the train loss has the shape of a rate that is too high or too low.

    Args:
        train_loss: the loss of each epoch (E,).

    Returns:
        The finding; None for other shapes, and for fewer than 5 epochs.
    """
    loss = np.asarray(train_loss)
    source = "Starter Bundle ch. 17, figure 17.2"
    if len(loss) < _CURVE:
        return None
    least = int(loss.argmin())
    # Near 0 a loss doubles by chance: the rise has to be a part of the whole fall, too.
    rise, fall = loss[-1] - loss[least], loss[0] - loss[least]
    if loss[-1] > 2 * loss[least] and rise > 0.1 * fall:
        return Finding(
            "learning rate too high",
            f"train loss {loss[least]:.3g} in epoch {least + 1} of these, {loss[-1]:.3g} at the end",
            "divide optimizer.learning_rate by 10, or set optimizer.global_clipnorm",
            source,
        )
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


def overfitting(
    epoch: Sequence[float], loss: Sequence[float], val_loss: Sequence[float], delivered: float
) -> Finding | None:
    """Whether the val loss rises while the train loss falls.

    Args:
        epoch: the numbers of the epochs (E,).
        loss: the train loss of each epoch (E,).
        val_loss: the val loss of each epoch (E,).
        delivered: the number of the epoch whose weights were delivered.

    Returns:
        The finding, with the epoch from which the val loss rises; None where it does not, and for fewer than
        5 epochs.
    """
    if len(loss) < _CURVE:
        return None
    least = int(np.argmin(val_loss))
    end = float(np.mean(val_loss[-3:]))
    if end <= _RISEN * val_loss[least] or loss[-1] >= loss[least]:
        return None
    keep = (
        f"the weights of epoch {delivered:.0f} were kept"
        if delivered < epoch[-1]
        else "train.keep: best keeps the best weights"
    )
    return Finding(
        f"overfitting from epoch {epoch[least]:.0f} on",
        f"val loss {val_loss[least]:.3g} there and {end:.3g} at the end, while the train loss fell from "
        f"{loss[least]:.3g} to {loss[-1]:.3g}",
        f"regularize (augment, train.l2, dropout) before making the network smaller; {keep}",
        "Starter Bundle ch. 17; Practitioner Bundle ch. 12",
    )


def easier_val(train: Fit, val: Fit) -> Finding | None:
    """Whether the val split is easier than the train split for the same weights, by more than chance."""
    easier = val.log_loss < _EASIER * train.log_loss
    if not easier or train.error - val.error <= _noise(train, val):
        return None
    return Finding(
        "val split easier than train split",
        f"log loss {val.log_loss:.3g} on val, {train.log_loss:.3g} on train, error {val.error:.3f} and "
        f"{train.error:.3f}, both in inference mode",
        "look at both splits: the val split should hold images of the same kind; images that are in both "
        "splits, or a source that names its splits, can cause it",
        "Starter Bundle ch. 17",
    )


def first_failing_check(
    train: Fit, val: Fit, test: Fit, epoch: float, train_val: Fit | None = None
) -> Finding:
    """Name the first of Ng's checks that fails: bias, variance, other data in val, overfitting to both.

    Bias is a train error above 5 %; the others are gaps, from one split to the next, above 5 points that
    chance does not explain. With train-val, held out of train, the gap to it is variance, and the gap from it
    to val is a difference of the data. Without it, val stands for both: the two come from the same source,
    unless the source names its splits.
    """
    source = "Practitioner Bundle ch. 8, figure 8.3"
    splits = {"train": train, "train-val": train_val, "val": val, "test": test}
    errors = ", ".join(f"{name} error {fit.error:.3f}" for name, fit in splits.items() if fit)
    figure = f"{errors}, in inference mode with the weights of epoch {epoch:.0f}"
    if train.error > _TOLERATED:
        return Finding(
            "underfitting (bias)",
            figure,
            "a deeper or wider network; longer training with a tuned rate; then another architecture",
            source,
        )
    if _is_worse(train_val or val, train):
        advice = "more regularization (augment, dropout, train.l2); more such data; then another architecture"
        if not train_val:
            advice += ". Where the source names its splits: see that train has images like those of val"
        return Finding("high variance", figure, advice, source)
    if train_val and _is_worse(val, train_val):
        return Finding(
            "train and val differ",
            figure,
            "see that train has images like those of val, and collect such images if not; then the "
            "regularization (augment, dropout, train.l2); then another architecture",
            source,
        )
    if _is_worse(test, val):
        return Finding(
            "overfit to train and val",
            figure,
            "a larger val split (ingest.val_fraction) and more data; where the source names its splits: "
            "see that train and val have images like those of test",
            source,
        )
    return Finding("balanced", figure, "small gains are left: a longer schedule, an ensemble", source)


def small_data(images: Sequence[int]) -> Finding | None:
    """Whether the train split, `images` of each class, is too small to train a network from scratch."""
    mean = sum(images) / len(images)
    if mean >= ENOUGH_PER_CLASS:
        return None
    return Finding(
        "small data set",
        f"{mean:.0f} train images of a class on average; "
        f"training from scratch wants {ENOUGH_PER_CLASS:,} to 5,000",
        "features of a pretrained network and a linear classifier: of its last layers where the images are "
        "like ImageNet's, of lower layers where not",
        "Practitioner Bundle ch. 8, figure 8.4",
    )


def _is_worse(fit: Fit, than: Fit) -> bool:
    """Whether the error is higher by more than is tolerated and than chance explains."""
    return fit.error - than.error > max(_TOLERATED, _noise(fit, than))


def _noise(first: Fit, second: Fit) -> float:
    """What chance explains of a difference of the two errors: two standard errors."""
    variance = sum(fit.error * (1 - fit.error) / fit.images for fit in (first, second))
    return _CHANCE * float(variance**0.5)
