"""The params of a network that is trained from scratch; cnn.py trains it."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    SerializeAsAny,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from stages.common.errors import ParamsError
from stages.common.files import digest
from stages.common.section import Positive, Section
from stages.data.augment import Augment
from stages.models import networks
from stages.models.backbones import Sha256
from stages.models.protocols import LearnerParams
from stages.models.training import schedules
from stages.models.training.durations import Duration
from stages.models.training.optimizers import Optimizer
from stages.models.training.settings import Settings

# The network in a member's folder.
FILE = "model.keras"
# What a training can start from, and where that comes from.
_ORIGINS = {
    "member": "name a folder that `train` has written",
    "checkpoint": "name a file of models/NAME/checkpoints (train.save_epochs)",
}


def _check_network_exists(network: str) -> str:
    names = networks.names()
    if network not in names:
        raise PydanticCustomError("network", "allowed: {names}", {"names": ", ".join(names)})
    return network


class Training(Settings, Duration):
    """How a network is trained, and for how long: `epochs` or `steps`, the other null."""


class StartFrom(Section):
    """A finished member of the same network, or the checkpoint of an epoch, to continue its training.

    Both are copies outside of `models/`: DVC clears that folder's members before it trains them, and does not
    know that this member reads another's. `python -m stages.tools.continue_training` makes the copy.

    Attributes:
        member: a member's folder, as `train` wrote it: weights and history; the optimizer starts anew.
        checkpoint: a file of a member's folder `checkpoints`: weights, optimizer and history.
        sha256: of its model.keras or of the checkpoint. DVC watches the params and not the file; with it a
            new file is a change.
    """

    member: Annotated[str, Field(min_length=1)] | None = None
    checkpoint: Annotated[str, Field(min_length=1)] | None = None
    sha256: Sha256 | None = None

    @field_validator("member", "checkpoint")
    @classmethod
    def _check_outside_of_models(cls, value: str | None) -> str | None:
        if value and Path(value).parts[:1] == ("models",):
            raise PydanticCustomError("member", "DVC clears models/; name a copy outside of it")
        return value

    @model_validator(mode="after")
    def _check_one_origin(self) -> Self:
        if (self.member is None) == (self.checkpoint is None):
            raise PydanticCustomError("start_from", "must have either member or checkpoint")
        return self

    @property
    def file(self) -> Path:
        """The member's network, or the checkpoint."""
        named = Path(self.member) / FILE if self.member else Path(str(self.checkpoint))
        return named.expanduser()

    def check(self) -> None:
        """Refuse a file that is missing or another one than the params state.

        Raises:
            ParamsError: There is no such file, or it has another SHA-256.
        """
        file, key = self.file, "member" if self.member else "checkpoint"
        if not file.is_file():
            raise ParamsError(f"start_from.{key}: {file} does not exist; {_ORIGINS[key]}")
        if self.sha256 and (actual := digest(file)) != self.sha256:
            raise ParamsError(f"start_from: {file} has sha256 {actual}; the params state {self.sha256}")


class Params(LearnerParams):
    """A network of stages/models/networks and its training.

    Attributes:
        network: its file's name.
        options: its own, see the file.
        normalize: the network's first layer: `scale` divides by 255; `standardize` subtracts the train
            split's mean and divides by its standard deviation, per channel; `network` is for networks that
            normalize by themselves.
        patch: [height, width] in pixels: train on random patches and predict on the centre (Practitioner
            Bundle ch. 10); null: whole images.
        augment: random changes to training images; null: none.
        start_from: a finished member or an epoch's checkpoint to start from; its epochs are the first of the
            history. null: random weights.
        optimizer: with its schedule.
        train: all other settings.
    """

    kind: Literal["cnn"]
    input: Literal["data/packed"]
    network: Annotated[str, AfterValidator(_check_network_exists)]
    options: SerializeAsAny[Section]
    normalize: Literal["scale", "standardize", "network"]
    patch: Annotated[list[Positive], Field(min_length=2, max_length=2)] | None
    augment: Augment | None
    start_from: StartFrom | None
    optimizer: Optimizer
    train: Training

    @field_validator("options", mode="plain")
    @classmethod
    def _check_options(cls, value: Any, info: ValidationInfo) -> Section:
        network = info.data.get("network")
        # Without a network that exists there is nothing to check against, and that error stops the run.
        return networks.options(network).model_validate(value) if network else Section()

    @model_validator(mode="after")
    def _check_normalized_once(self) -> Self:
        if networks.normalizes(self.network) != (self.normalize == "network"):
            allowed = "network" if networks.normalizes(self.network) else "scale, standardize"
            raise PydanticCustomError(
                "normalize",
                "normalize is {value}; allowed with {network}: {allowed}",
                {"value": repr(self.normalize), "network": self.network, "allowed": allowed},
            )
        return self

    @model_validator(mode="after")
    def _check_schedule_fits(self) -> Self:
        schedules.check_fits(self.optimizer.schedule, self.train, "optimizer", "train")
        return self

    @model_validator(mode="after")
    def _check_snapshots_have_cycles(self) -> Self:
        if self.train.keep != "snapshots":
            return self
        cycles, train = schedules.cycles(self.optimizer.schedule), self.train
        plain = train.early_stopping is None and self.optimizer.ema_momentum is None
        if cycles < 2 or not train.epochs or train.epochs % cycles or not plain:
            raise PydanticCustomError(
                "snapshots",
                "train.keep: snapshots needs a cosine schedule with at least 2 cycles, epochs that they "
                "divide, no early_stopping and no ema_momentum",
            )
        return self

    @model_validator(mode="after")
    def _check_code(self) -> Self:
        expected = f"stages/models/networks/{self.network}.py"
        if self.code != expected:
            raise PydanticCustomError(
                "code",
                "code is {value}; must be {expected}",
                {"value": repr(self.code), "expected": expected},
            )
        return self
