"""What a network loses when its small images are JPEG copies: the question of docs/recipes.md on CIFAR-10.

`python -m benchmarks.jpeg_copies MEMBER --data data/packed --seeds 1 2` copies the packed images as JPEG of
quality 75 with the colours at half the resolution, copies the copies, and trains the member of params.yaml on
the images and on their first copies. The images must not be JPEGs of the packed size: a second copy changes
next to nothing, whatever the first has lost. Images that `resize` has shrunk will do, such as
`dvc exp run -S recipe=minivggnet_cifar10 -S "resize.size=[16,16]" -S models.minivggnet.train.epochs=5 pack`.
"""

import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import trainings
from benchmarks.harness import markdown
from stages import cli
from stages.data import store
from stages.data.manifest import SPLITS
from stages.models.learners import cnn
from stages.models.protocols import LearnerParams
from stages.scoring import differences

_QUALITY = [
    cv2.IMWRITE_JPEG_QUALITY,
    75,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
]
_ROWS = 1_000


@cli.command(params="models.{name}")
def compare(
    name: str,
    *,
    params: LearnerParams,
    data: Path,
    seeds: trainings.Seeds = [42],  # noqa: B006 (never changed)
) -> None:
    """Print how much copying changes the images, and the test accuracy of networks trained on either.

    Args:
        name: A member of params.yaml whose learner is a network.
        params: The member's params.
        data: The folder of packed images, RGB.
        seeds: Train once per seed; the split stays the same.

    Raises:
        ParamsError: When the member's learner is no network.
    """
    member = trainings.network(name, params)
    with tempfile.TemporaryDirectory(prefix="convoy-jpeg-") as work:
        first, second = Path(work) / "first", Path(work) / "second"
        copy(data, first)
        copy(first, second)
        rows = [
            ("first copy against the image", *change(data, first)),
            ("second copy against the first", *change(first, second)),
        ]
        print(markdown(("", "unchanged images", "peak signal to noise, dB"), rows), flush=True)
        images, copies = (_mean_correct(member, folder, seeds) for folder in (data, first))
    difference, low, high = differences.paired(images - copies, trainings.TAIL)
    print(
        f"\n{name}, seeds {seeds}, {len(images)} test images: accuracy {images.mean():.4f}, on copies "
        f"{copies.mean():.4f}; difference {difference:.4f}, 95 % interval {low:.4f} to {high:.4f}"
    )


def copy(packed: Path, target: Path) -> None:
    """Write packed images anew, each after a JPEG encoder and decoder.

    Args:
        packed: The folder of packed images uint8 (N, H, W, 3), RGB.
        target: The folder to write; ids, labels and order stay.
    """
    target.mkdir()
    for split in SPLITS:
        with store.Reader(packed / f"{split}.h5") as rows:
            file = target / f"{split}.h5"
            with store.create(
                file, "images", rows.shape, rows.dtype, ids=rows.ids, provenance=rows.provenance
            ) as out:
                out.columns["labels"] = rows.column("labels")
                for start, images in zip(range(0, len(rows), _ROWS), rows.batches(_ROWS), strict=True):
                    out.write(start, np.stack([_after_jpeg(image) for image in images]))


def change(before: Path, after: Path) -> tuple[str, str]:
    """What copying does to the training images: the share that stays the same, and the peak SNR in dB."""
    with store.Reader(before / "train.h5") as first, store.Reader(after / "train.h5") as second:
        squares = np.concatenate([
            np.square(old.astype(np.float32) - new).mean(axis=(1, 2, 3))
            for old, new in zip(first.batches(_ROWS), second.batches(_ROWS), strict=True)
        ])  # fmt: skip
    return f"{(squares == 0).mean():.1%}", f"{10 * np.log10(255**2 / squares.mean()):.1f}"


def _after_jpeg(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # The channels' order matters: JPEG keeps brightness finer than colours.
    encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), _QUALITY)[1]
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def _mean_correct(params: cnn.Params, packed: Path, seeds: list[int]) -> NDArray[np.float64]:
    """Train once per seed; the share of the networks (N,) that classify each test image correctly."""
    each = [
        trainings.correct(trainings.train(trainings.seeded(params, seed), packed), packed) for seed in seeds
    ]
    return np.asarray(np.mean(each, axis=0), np.float64)


if __name__ == "__main__":
    cli.main(compare)
