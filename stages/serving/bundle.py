"""Members as `train` saved them → one folder from which raw images can be classified anywhere.

    spec.json                 classes, resize, crops, and for each member its weight and extractor
    members/NAME/             what `train` saved
    extractors/NAME/          the weights of an extractor that has any
    seen.bin                  of a registered model: the images it has seen, see stages/models/seen_images.py

A single member is an ensemble of one.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.common import fingerprint, plugins
from stages.common.errors import ServingError
from stages.common.files import digest as file_digest
from stages.common.files import read_json, write_json
from stages.common.history import CHECKPOINTS
from stages.data import image_set
from stages.data.image_set import ImageSet
from stages.models import extractors, learners, seen_images

SPEC = "spec.json"
MEMBERS, EXTRACTORS = "members", "extractors"
# Where MLflow keeps the bundle in a logged model.
LOGGED = "artifacts/bundle"
# What runs a bundle, and is logged with it.
CODE = Path(__file__).parents[1]
# What `train` leaves for people and for other stages, not for prediction.
_LEFT_OUT = shutil.ignore_patterns(
    learners.HISTORY,
    learners.FIT,
    seen_images.FILE,
    "run.json",
    "diagnosis.json",
    "*.png",
    "tracking",
    CHECKPOINTS,
    ".*",
)


def write(
    folder: Path,
    members: Mapping[str, Path],
    weights: Mapping[str, float],
    crops: str,
    seen: ImageSet | None = None,
) -> None:
    """Write a bundle.

    Args:
        folder: The folder to write, which does not exist yet.
        members: Member → its folder.
        weights: Member → its weight, on any positive scale.
        crops: What a member trained on patches sees: `center` or `ten`.
        seen: The images that the model has seen; a registered model says so, for the next promotion.

    Raises:
        ServingError: A member is of another version, or the members are of different classes or sizes.
        ParamsError: An extractor's weights are missing.
    """
    specs = {name: _spec(path) for name, path in members.items()}
    first = next(iter(specs.values()))["provenance"]
    shared = {key: first[key] for key in ("classes", "resize")}
    total = sum(weights[name] for name in members)
    entries = []
    for name, spec in specs.items():
        if any(spec["provenance"][key] != value for key, value in shared.items()):
            raise ServingError(
                f"{members[name]} is of other classes or sizes than other members; run train again"
            )
        shutil.copytree(members[name], folder / MEMBERS / name, ignore=_LEFT_OUT)
        entries.append(
            {
                "name": name,
                "weight": weights[name] / total,
                "patch": spec.get("patch"),
                "extractor": _extractor(folder, spec["provenance"]),
            }
        )
    write_json(folder / SPEC, {**shared, "crops": crops, "members": entries})
    if seen is not None:
        image_set.write(folder / seen_images.FILE, seen)


@contextmanager
def temporary(
    members: Mapping[str, Path],
    weights: Mapping[str, float],
    crops: str,
    seen: ImageSet | None = None,
) -> Iterator[Path]:
    """Yield the folder of a bundle that is removed afterwards. Args and errors are those of `write`."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "bundle"
        write(folder, members, weights, crops, seen)
        yield folder


def digest(folder: Path) -> str:
    """The SHA-256 of a bundle's files and of the code they run, which identifies a served model."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {path.relative_to(folder).as_posix(): file_digest(path) for path in paths}
    members = [read_json(path / learners.SPEC) for path in (folder / MEMBERS).iterdir()]
    extracted = [member["provenance"].get("extractor") for member in members]
    choices: dict[str, fingerprint.Choice] = {
        learners.__name__: tuple(sorted({member["kind"] for member in members})),
        extractors.__name__: tuple(sorted({described["kind"] for described in extracted if described})),
    }
    return fingerprint.digest(files, fingerprint.code("stages.serving.pyfunc", choices))


def _spec(member: Path) -> dict[str, Any]:
    try:
        spec: dict[str, Any] = read_json(member / learners.SPEC)
        assert {"classes", "resize"} <= set(spec["provenance"])
    except (OSError, ValueError, KeyError, AssertionError):
        raise ServingError(f"{member} holds no member of this version; run train again") from None
    return spec


def _extractor(folder: Path, provenance: Mapping[str, Any]) -> dict[str, Any] | None:
    """The extractor's name and params; its weights, if it has any, are put beside, once for all members."""
    if (described := provenance.get("extractor")) is None:
        return None
    name, params = described["name"], {key: value for key, value in described.items() if key != "name"}
    module = plugins.module(extractors.__name__, params["kind"])
    place = folder / EXTRACTORS / name
    if hasattr(module, "save_weights") and not place.exists():
        place.mkdir(parents=True)
        module.save_weights(module.Params.model_validate(params), _shape(provenance), place)
    return {"name": name, **params}


def _shape(provenance: Mapping[str, Any]) -> tuple[int, int, int]:
    """(H, W, C) of the images that the extractor reads."""
    resize = provenance["resize"]
    height, width = resize["size"]
    return height, width, 3 if resize["color"] == "rgb" else 1
