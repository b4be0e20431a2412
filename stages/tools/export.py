"""export: the networks of a logged model → ONNX or TensorFlow's SavedModel, for programs without Convoy.

    python -m stages.tools.export --model models:/digits@champion --format onnx --to exported

Writes a network per member, and spec.json: what has to be done to an image before (resize, colours), the
order of the classes, and the members' weights. Networks take uint8 images and normalize them themselves.
"""

import argparse
import shutil
import sys
from pathlib import Path

from stages import cli, tracking
from stages.common import log
from stages.common.errors import ServingError
from stages.common.files import read_json, replacing
from stages.models.networks import _export
from stages.models.networks._export import Format
from stages.serving import bundle

_SUFFIX: dict[Format, str] = {"onnx": ".onnx", "saved_model": ""}


def main(argv: list[str] | None = None) -> None:
    """Export. Exits with 1 after one line when something is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.tools.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", required=True, help="a URI of MLflow")
    parser.add_argument("--format", required=True, choices=sorted(_SUFFIX))
    parser.add_argument("--to", required=True, type=Path, metavar="FOLDER", help="replaced if it exists")
    given = parser.parse_args(argv)
    with cli.told("export"):
        export(given.model, given.format, given.to)
    sys.exit(0)


def export(model: str, kind: Format, to: Path) -> None:
    """Write the members' networks and spec.json into the folder `to`.

    Raises ServingError when a member is no network or reads an extractor's features, or as `_export` does.
    """
    with tracking.connected():
        import mlflow

        folder = Path(mlflow.artifacts.download_artifacts(model)) / "artifacts" / "bundle"
    if not (folder / bundle.SPEC).is_file():
        raise ServingError(f"{model} was not logged by this version")
    names = [member["name"] for member in read_json(folder / bundle.SPEC)["members"]]
    files = {name: folder / bundle.MEMBERS / name / "model.keras" for name in names}
    if others := [name for name, file in files.items() if not file.is_file()]:
        raise ServingError(f"{model}: no networks, and so not to be exported: {', '.join(others)}")
    with replacing(to) as aside:
        aside.mkdir()
        shutil.copyfile(folder / bundle.SPEC, aside / bundle.SPEC)
        for name, file in files.items():
            apart = _export.export(file, aside / f"{name}{_SUFFIX[kind]}", kind)
            log.event("exported", member=name, to=to, largest_difference=f"{apart:.1e}")


if __name__ == "__main__":
    main()
