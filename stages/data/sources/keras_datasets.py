"""The small image sets that Keras downloads by name."""

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from stages.common.errors import DownloadError, SourceError, is_failed_download
from stages.data.sources import Image, SourceParams
from stages.data.sources._png import png

if TYPE_CHECKING:
    from stages.data.manifest import Split


# Names of classes in the order of their numbers; Keras has none. The order must be alphabetical, as ingest
# sorts names: else a class would have another number than in the set.
_NAMES = {
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
}


class Params(SourceParams):
    """A set that Keras keeps in ~/.keras or $KERAS_HOME.

    Attributes:
        path: This file, as the name fixes what comes.
        name: Of the set, as Keras has it.
    """

    kind: Literal["keras_datasets"]
    name: Literal["mnist", "fashion_mnist", "cifar10", "cifar100"]


def images(params: Params) -> Iterator[Image]:
    """Each image as SPLIT/CLASS/NUMBER.png with its official split, train or test.

    The classes of CIFAR-10 are words, whose alphabetical order is that of their numbers; other sets have
    numbers.

    Raises:
        DownloadError: The set is not there and cannot be downloaded.
        SourceError: Its files are damaged.
    """
    try:
        parts = import_module(f"keras.datasets.{params.name}").load_data()
    except Exception as error:
        # Keras raises a bare Exception when a download fails.
        why = " ".join(str(error).split())
        kind = DownloadError if is_failed_download(error) else SourceError
        raise kind(f"ingest.source.name: keras cannot load {params.name}: {why}") from error
    names = _NAMES.get(params.name)
    splits: tuple[Split, Split] = ("train", "test")
    for split, (images, labels) in zip(splits, parts, strict=True):
        for number, (pixels, label) in enumerate(zip(images, labels.ravel().tolist(), strict=True)):
            word = names[label] if names else str(label)
            yield Image(f"{split}/{word}/{number:05d}.png", word, data=png(pixels), split=split)
