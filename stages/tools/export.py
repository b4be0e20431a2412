"""export: the networks of a logged model as ONNX or TensorFlow's SavedModel, for programs without Convoy."""

import shutil
import tempfile
from pathlib import Path

from stages import cli, tracking
from stages.common import log
from stages.common.errors import ServingError
from stages.common.files import read_json, replace_folder_atomically
from stages.models.networks import _export
from stages.models.networks._export import Format
from stages.serving import address, bundle, registry

_SUFFIX: dict[Format, str] = {"onnx": ".onnx", "saved_model": ""}
# All files of an export: of each network one ONNX file or a SavedModel's folder.
_WRITTEN = (
    bundle.SPEC,
    "*.onnx",
    "*/saved_model.pb",
    "*/fingerprint.pb",
    "*/variables/variables.*",
)


def export(*, model: str, format: Format, to: Path) -> None:  # noqa: A002 (the option's name)
    """Write a network per member, and spec.json, into a folder.

    spec.json says what to do with an image first (resize, colours), the order of the classes, and the
    members' weights. Networks take uint8 images and normalize them themselves.

    python -m stages.tools.export --model models:/lenet_captcha@champion --format onnx --to exported

    Args:
        model: The model's URI in MLflow.
        format: The file format of the networks.
        to: The folder to write. An earlier export there is replaced; anything else is refused.

    Raises:
        ServingError: When a member is no network, or reads an extractor's features; otherwise as
            `stages.models.networks._export`.
    """
    address.check_form(model)
    # MLflow leaves a model that it downloads without a folder in the temporary folder for good.
    with tempfile.TemporaryDirectory() as temporary:
        with tracking.connected():
            import mlflow

            registry.check_champion(model)
            logged = Path(mlflow.artifacts.download_artifacts(model, dst_path=temporary))
        _export_members(model, logged / "artifacts" / "bundle", format, to)


def _export_members(model: str, folder: Path, kind: Format, to: Path) -> None:
    if not (folder / bundle.SPEC).is_file():
        raise ServingError(f"{model} was not logged by this version")
    names = [member["name"] for member in read_json(folder / bundle.SPEC)["members"]]
    files = {name: folder / bundle.MEMBERS / name / "model.keras" for name in names}
    if others := [name for name, file in files.items() if not file.is_file()]:
        raise ServingError(
            f"{model}: only networks can be exported; these are none: {', '.join(others)}; "
            "promote.challenger: MEMBER promotes one network"
        )
    with replace_folder_atomically(to, _WRITTEN) as partial:
        shutil.copyfile(folder / bundle.SPEC, partial / bundle.SPEC)
        for name, file in files.items():
            difference = _export.export(file, partial / f"{name}{_SUFFIX[kind]}", kind)
            log.event("exported_member", member=name, to=to, largest_difference=f"{difference:.1e}")


if __name__ == "__main__":
    cli.main(export)
