"""The yardstick: a plain reading of the books' way (Practitioner Bundle ch. 2, 3, 9 and 10).

One process, one image after the other, OpenCV, h5py and Keras as the books use them; written anew from the
description of what they do, and not slowed down: warm caches, today's library versions.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray

from stages.common.files import write_json

_BUFFER = 1000
Preprocessor = Callable[[NDArray[Any]], NDArray[Any]]


class DatasetWriter:
    """Pixels as float64 and labels as int64 through a buffer of 1,000 rows (ch. 3, HDF5DatasetWriter)."""

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self._file = h5py.File(path, "w")
        self._images = self._file.create_dataset("images", shape, dtype="float")
        self._labels = self._file.create_dataset("labels", shape[:1], dtype="int")
        self._rows: list[NDArray[np.uint8]] = []
        self._values: list[int] = []
        self._next = 0

    def add(self, rows: Sequence[NDArray[np.uint8]], labels: Sequence[int]) -> None:
        """Buffer rows; write when the buffer is full."""
        self._rows.extend(rows)
        self._values.extend(labels)
        if len(self._rows) >= _BUFFER:
            self._flush()

    def close(self) -> None:
        """Write the rest of the buffer and close the file."""
        if self._rows:
            self._flush()
        self._file.close()

    def _flush(self) -> None:
        end = self._next + len(self._rows)
        self._images[self._next : end] = self._rows
        self._labels[self._next : end] = self._values
        self._next, self._rows, self._values = end, [], []


def aspect_aware(image: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """Resize the short side, cut the long one in the middle, resize to the exact target (ch. 2)."""
    rows, columns = image.shape[:2]
    if columns < rows:
        image = _resize(image, width, int(rows * width / columns))
        cut_rows, cut_columns = int((image.shape[0] - height) / 2), 0
    else:
        image = _resize(image, int(columns * height / rows), height)
        cut_rows, cut_columns = 0, int((image.shape[1] - width) / 2)
    rows, columns = image.shape[:2]
    return _resize(image[cut_rows : rows - cut_rows, cut_columns : columns - cut_columns], width, height)


def build(parts: dict[str, list[tuple[Path, int]]], folder: Path, size: int) -> int:
    """Resize, average and pack the parts train, val and test (ch. 9, build_dogs_vs_cats).

    `parts` are (file, class index); writes PART.hdf5 and mean.json; returns the number of images.
    """
    means: list[tuple[float, ...]] = []
    # OpenCV with its own threads, as it comes; ours turns them off.
    cv2.setNumThreads(-1)
    for part, images in parts.items():
        writer = DatasetWriter(folder / f"{part}.hdf5", (len(images), size, size, 3))
        for path, label in images:
            image = aspect_aware(np.asarray(cv2.imread(str(path))), size, size)
            if part == "train":
                means.append(cv2.mean(image)[:3])
            writer.add([image], [label])
        writer.close()
    blue, green, red = np.mean(means, axis=0).tolist()
    write_json(folder / "mean.json", {"R": red, "G": green, "B": blue})
    cv2.setNumThreads(1)
    return sum(map(len, parts.values()))


def mean_subtraction(red: float, green: float, blue: float) -> Preprocessor:
    """Subtract each channel's mean from a BGR image (ch. 10, MeanPreprocessor)."""

    def preprocess(image: NDArray[Any]) -> NDArray[Any]:
        b, g, r = cv2.split(image.astype("float32"))
        return cv2.merge([b - blue, g - green, r - red])

    return preprocess


def patch(width: int, height: int) -> Preprocessor:
    """One random crop (ch. 10, PatchPreprocessor)."""
    from sklearn.feature_extraction.image import extract_patches_2d

    def preprocess(image: NDArray[Any]) -> NDArray[Any]:
        crop: NDArray[Any] = extract_patches_2d(image, (height, width), max_patches=1)[0]
        return crop

    return preprocess


def to_array(image: NDArray[Any]) -> NDArray[Any]:
    """Keras' own conversion (Starter Bundle ch. 12, ImageToArrayPreprocessor)."""
    from tensorflow.keras.preprocessing.image import img_to_array

    array: NDArray[Any] = img_to_array(image)
    return array


def augmentation() -> Any:
    """Set A3: rotation 20, shifts 0.2, zoom 0.15, shear 0.15, horizontal flip (ch. 10, train_alexnet).

    The book's shear is in radians, today's Keras takes degrees.
    """
    from tensorflow.keras.preprocessing.image import ImageDataGenerator

    return ImageDataGenerator(
        rotation_range=20,
        zoom_range=0.15,
        width_shift_range=0.2,
        height_shift_range=0.2,
        shear_range=float(np.rad2deg(0.15)),
        horizontal_flip=True,
        fill_mode="nearest",
    )


def batches(
    path: Path, size: int, preprocessors: Sequence[Preprocessor], augment: Any = None
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """One pass: a slice per batch, each image through the list, Keras (ch. 10, HDF5DatasetGenerator)."""
    with h5py.File(path) as file:
        for start in range(0, len(file["labels"]), size):
            images: Any = file["images"][start : start + size]
            labels = np.eye(2)[file["labels"][start : start + size]]
            images = np.array([_preprocessed(image, preprocessors) for image in images])
            if augment is not None:
                images, labels = next(augment.flow(images, labels, batch_size=size))
            yield images, labels


def _preprocessed(image: NDArray[Any], preprocessors: Sequence[Preprocessor]) -> NDArray[Any]:
    for preprocess in preprocessors:
        image = preprocess(image)
    return image


def _resize(image: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
