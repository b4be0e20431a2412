"""The same work by other well-made programs, on the same images in the same run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def decode_and_resize(paths: Sequence[Path], size: int) -> int:
    """tf.data: read, decode, middle square, area resize, batches of 128; nothing is written."""
    import tensorflow as tf

    def load(path: Any) -> Any:
        image = tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
        shape = tf.shape(image)
        side = tf.minimum(shape[0], shape[1])
        square = tf.image.resize_with_crop_or_pad(image, side, side)
        return tf.cast(tf.image.resize(square, (size, size), method="area"), tf.uint8)

    data = tf.data.Dataset.from_tensor_slices([str(path) for path in paths])
    return _run(data.map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(128))


def write_records(path: Path, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    """A TFRecord file of uncompressed images."""
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path)) as writer:
        for image, label in zip(images, labels.tolist(), strict=True):
            feature = {
                "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image.tobytes()])),
                "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())


def record_batches(path: Path, shape: tuple[int, ...], patch: int, batch: int, shuffled: int) -> Any:
    """tf.data over such a file: shuffle buffer of that many (0: none), parse, random patch, batches."""
    import tensorflow as tf

    features = {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}

    def load(record: Any) -> Any:
        parsed = tf.io.parse_single_example(record, features)
        image = tf.reshape(tf.io.decode_raw(parsed["image"], tf.uint8), shape)
        return tf.image.random_crop(image, (patch, patch, shape[2])), parsed["label"]

    records = tf.data.TFRecordDataset(str(path))
    records = records.shuffle(shuffled) if shuffled else records
    return records.map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(batch)


def augmented(batches: Any) -> Any:
    """Set A3 by Keras' preprocessing layers, inside tf.data."""
    import keras
    import tensorflow as tf

    shear = float(np.tan(0.15))
    layers = keras.Sequential(
        [
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomRotation(20 / 360, fill_mode="nearest"),
            keras.layers.RandomTranslation(0.2, 0.2, fill_mode="nearest"),
            keras.layers.RandomShear(shear, 0.0, fill_mode="nearest"),
            keras.layers.RandomZoom(0.15, fill_mode="nearest"),
        ]
    )
    return batches.map(
        lambda images, labels: (layers(images, training=True), labels), num_parallel_calls=tf.data.AUTOTUNE
    )


def passes(batches: Any) -> int:
    """One pass over a tf.data pipeline; returns the number of images."""
    return _run(batches.map(lambda images, _: images))


def _run(batches: Any) -> int:
    import tensorflow as tf

    return sum(int(images.shape[0]) for images in batches.prefetch(tf.data.AUTOTUNE))
