"""networks: the table of all networks, or the layers of one."""

import shutil
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from cyclopts import Parameter, validators
from pydantic import ValidationError

from stages import cli
from stages.common import plugins, section
from stages.common.errors import ParamsError, UsageError
from stages.common.keras_import import import_keras
from stages.models import networks

if TYPE_CHECKING:
    import keras


def show_networks(
    name: str | None = None,
    *,
    classes: Annotated[int, Parameter(validator=validators.Number(gte=1))] | None = None,
    input: Annotated[  # noqa: A002 (the option's name)
        tuple[int, int, int], Parameter(validator=validators.Number(gte=1))
    ]
    | None = None,
    options: Annotated[str, Parameter(name="--options")] = "{}",
) -> None:
    """Print the table of all networks, or the layers of one.

    Args:
        name: A network; without it, the table of all.
        classes: The number of classes; by default its authors' number.
        input: Height, width and channels of the images; by default its authors' numbers.
        options: The network's options as in the params, in YAML: '{reg: 0.0}'.

    Raises:
        ParamsError: When there is no such network, or it has no such options.
    """
    if name is None:
        _print_table()
    else:
        _build(name, input, classes, _parse(options)).summary(line_length=shutil.get_terminal_size().columns)


def _parse(options: str) -> Any:
    try:
        values = yaml.safe_load(options)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"--options is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UsageError(f"--options is {options}; must be keys and values: '{{reg: 0.0}}'")
    return values


def _print_table() -> None:
    print(f"{'network':<20}{'input':>12}{'classes':>9}{'parameters':>14}")
    for name in networks.names():
        network = _build(name, None, None, {})
        size = "x".join(map(str, network.input_shape[1:]))
        print(f"{name:<20}{size:>12}{network.output_shape[1]:>9,}{network.count_params():>14,}")


def _build(name: str, shape: tuple[int, int, int] | None, classes: int | None, options: Any) -> "keras.Model":
    """The network without values for its weights: VGG19 in a second and without its half a gigabyte."""
    import_keras()
    import keras

    if name not in networks.names():
        raise ParamsError(f"no network {name!r}; allowed: {', '.join(networks.names())}")
    try:
        checked = networks.options(name).model_validate(options)
    except ValidationError as error:
        raise ParamsError(f"--options: {section.describe_error(error, options)}") from None
    module = plugins.module(networks.__name__, name)
    with keras.StatelessScope(initialize_variables=False):
        return networks.build(name, shape or module.SHAPE, classes or module.CLASSES, None, checked)


if __name__ == "__main__":
    cli.main(show_networks)
