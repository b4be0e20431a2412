"""Networks of keras.applications: look-up by name, weights, preprocessing. The only module that builds them.

A backbone takes uint8 pixels like every network here and brings its own preprocessing, so nothing outside
needs to know whether its authors subtracted ImageNet's means from BGR (VGG, ResNet), scaled to -1-1
(MobileNet, Inception) or did nothing. Its layers keep Keras' names, so that some can be frozen or read.
Starter Bundle ch. 20, Practitioner Bundle ch. 3 and 5.
"""

import difflib
import itertools
import sys
import textwrap
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from stages.common.errors import DownloadError, ParamsError, is_failed_download
from stages.common.files import digest
from stages.common.keras_import import import_keras

if TYPE_CHECKING:
    import keras

IMAGENET = "imagenet"
IMAGENET_CLASSES = 1000

# Arguments of one constructor, such as {alpha: 0.35} of MobileNetV2.
Arguments = Mapping[str, float | int | bool]
# `imagenet`, which Keras downloads once, or a file.
Weights = Annotated[str, Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def constructor(name: str) -> Any:
    """Look up a function of keras.applications.

    Args:
        name: the network in any spelling: `MobileNetV2`, `mobilenet_v2`.

    Raises:
        ParamsError: keras.applications has no such network.
    """
    import_keras()
    import keras

    # Its modules are no networks: `vgg16` is the module of the function VGG16.
    functions = {key.lower(): value for key, value in vars(keras.applications).items() if callable(value)}
    function = functions.get(name.replace("_", "").lower())
    if function is None:
        allowed = ", ".join(sorted(value.__name__ for value in functions.values()))
        raise ParamsError(f"keras.applications has no network {name!r}; allowed: {allowed}")
    return function


def checked_weights(weights: str | None, sha256: str | None = None) -> str | None:
    """Check that weights can be loaded.

    Args:
        weights: `imagenet`, a file, or None for random weights.
        sha256: of the file, in hex; None checks nothing. DVC watches the params and not the file, so a
            stated digest is what makes a new file a change.

    Returns:
        What a constructor of Keras takes: `imagenet`, the file's path, or None.

    Raises:
        ParamsError: the file does not exist or has another SHA-256.
    """
    if weights is None or weights == IMAGENET:
        return weights
    path = Path(weights).expanduser()
    if not path.is_file():
        raise ParamsError(f"weights {weights!r} are neither 'imagenet' nor a file that exists")
    if sha256 and (actual := digest(path)) != sha256:
        raise ParamsError(f"weights {path} have sha256 {actual}; the params state {sha256}")
    return str(path)


def attach(
    pixels: Any, name: str, weights: str | None, sha256: str | None = None, options: Arguments | None = None
) -> "keras.Model":
    """Put a backbone and its preprocessing on top of a tensor.

    Args:
        pixels: float tensor (N, H, W, C) in 0-255; gray images (C = 1) are repeated to three channels.
        name: a network of keras.applications in any spelling.
        weights: `imagenet`, a file of the network without its top, or None for random weights.
        sha256: of the file; None checks nothing.
        options: arguments of the network's constructor.

    Returns:
        A model from the source of `pixels` to the last feature maps (N, H', W', C').

    Raises:
        ParamsError: Keras has no such network, the network does not take the options or the image size, or
            the weights are missing, changed or of another network.
        DownloadError: ImageNet's weights cannot be downloaded.
    """
    import keras

    function = constructor(name)
    file = checked_weights(weights, sha256)
    colored = pixels if pixels.shape[-1] == 3 else keras.layers.Concatenate()([pixels] * 3)
    return _built(
        f"{name} with images of {_size(pixels.shape[1:])}",
        lambda: function(
            include_top=False,
            weights=file,
            input_shape=tuple(colored.shape[1:]),
            input_tensor=_preprocessed(function, colored),
            **(options or {}),
        ),
    )


def feature_network(
    name: str,
    shape: tuple[int, ...],
    weights: str | None,
    sha256: str | None = None,
    options: Arguments | None = None,
    layer: str | None = None,
) -> "keras.Model":
    """Build a backbone for images: uint8 (N, H, W, C) → float feature maps (N, H', W', C').

    Args:
        name: a network of keras.applications in any spelling.
        shape: (H, W, C) of the images.
        weights: `imagenet`, a file of the network without its top, or None for random weights.
        sha256: of the file; None checks nothing.
        options: arguments of the network's constructor.
        layer: the layer whose output is returned, by Keras' name; None takes the last one.

    Raises:
        DownloadError: as `attach`.
        ParamsError: as `attach`; or the network has no such layer.
    """
    import keras

    pixels = keras.Input(shape, dtype="uint8", name="pixels")
    network = attach(keras.ops.cast(pixels, "float32"), name, weights, sha256, options)
    output = network.output if layer is None else _layer(network, layer).output
    # The same layers, from the pixels on: Keras' own model lists the tensor it was put on.
    return keras.Model(pixels, output, name=network.name)


def save_weights(
    name: str, shape: tuple[int, ...], weights: str | None, options: Arguments, path: Path
) -> None:
    """Write the weights of a backbone for images (H, W, 3) to a file in Keras' present format.

    A copy of the file would not do: Keras chooses its reader by the suffix, and the files that it downloads
    are in its old format.

    Args:
        name: a network of keras.applications in any spelling.
        shape: (H, W, 3) of the images.
        weights: `imagenet`, a file of the network without its top, or None for random weights.
        options: arguments of the network's constructor.
        path: the file, whose name ends in .weights.h5.

    Raises:
        ParamsError, DownloadError: as `attach`.
    """
    function = constructor(name)
    network = _built(
        f"{name} with images of {_size(shape)}",
        lambda: function(include_top=False, weights=weights, input_shape=shape, **options),
    )
    _fold_rescaling(network)
    network.save_weights(path)


def _fold_rescaling(network: "keras.Model") -> None:
    """Put a rescaling that follows a normalization into its variance.

    Keras builds EfficientNetB0 to B7 with such a layer for `imagenet`, and without it for a file.
    """
    import keras
    import numpy as np

    for first, second in itertools.pairwise(network.layers):
        if isinstance(first, keras.layers.Normalization) and isinstance(second, keras.layers.Rescaling):
            scale = np.reshape(np.asarray(second.scale, np.float32), first.adapt_variance.shape)
            first.adapt_variance.assign(first.adapt_variance / np.square(scale))
            first.finalize_state()


def whole_network(name: str, weights: str) -> "keras.Model":
    """Build a network with its 1,000 classes of ImageNet, in its own input size.

    Args:
        name: a network of keras.applications in any spelling.
        weights: `imagenet` or a file of the whole network.

    Returns:
        A model of images uint8 (N, H, W, 3) → class probabilities (N, 1000).

    Raises:
        ParamsError, DownloadError: as `attach`.
    """
    import keras

    function = constructor(name)
    file = checked_weights(weights)
    network = _built(f"{name} with weights {weights!r}", lambda: function(weights=file))
    pixels = keras.Input(network.input_shape[1:], dtype="uint8", name="pixels")
    prepared = _preprocessed(function, keras.ops.cast(pixels, "float32"))
    return keras.Model(pixels, network(prepared), name=network.name)


def imagenet_names() -> list[str]:
    """The names of ImageNet's 1,000 classes in the order of the networks' outputs; Keras downloads them.

    Raises:
        OSError: the download fails.
    """
    import keras
    import numpy as np

    every = np.ones((1, IMAGENET_CLASSES))
    try:
        decoded = keras.applications.imagenet_utils.decode_predictions(every, top=IMAGENET_CLASSES)
    except Exception as error:  # Keras raises nothing more special when a download fails
        raise OSError(textwrap.shorten(str(error), 200)) from None
    # The outputs are in the order of WordNet's ids.
    return [name for _, name, _ in sorted(decoded[0])]


def _preprocessed(function: Any, pixels: Any) -> Any:
    # Each network's module has the preprocessing that its weights were trained with.
    return sys.modules[function.__module__].preprocess_input(pixels)


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _built(description: str, build: "Callable[[], keras.Model]") -> "keras.Model":
    """Call a constructor; whatever Keras refuses becomes one line."""
    try:
        with warnings.catch_warnings():
            # Keras warns of every layer that a foreign file does not fit, and then raises.
            warnings.simplefilter("ignore")
            return build()
    except Exception as error:  # Keras raises nothing more special when a download fails
        reason = textwrap.shorten(str(error), 300)
        kind = DownloadError if is_failed_download(error) else ParamsError
        raise kind(f"{description} cannot be built: {reason}") from error


def _layer(network: "keras.Model", name: str) -> "keras.Layer":
    names = [layer.name for layer in network.layers]
    if name not in names:
        similar = ", ".join(difflib.get_close_matches(name, names, n=5, cutoff=0.0))
        raise ParamsError(f"{network.name} has no layer {name!r}; similar names: {similar}")
    return network.get_layer(name)
