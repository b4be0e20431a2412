"""The address of a model in MLflow, checked by its form: MLflow takes every other text for a folder."""

import re
from pathlib import Path

from stages.common.errors import ServingError

# A registered model's version or alias, or a logged model's id.
_MODEL = re.compile(r"models:/([^/@]+(/[^/@]+|@[^/@]+)|m-[0-9a-f]+)")
# runs:/ID/NAME, s3://… and the other schemes of artifacts.
_SCHEME = re.compile(r"(?!models:)[a-z][a-z0-9+.-]+:/")


def check_form(uri: str) -> None:
    """Refuse a text that is no address of a model. It imports nothing of MLflow, which takes 2 s.

    Args:
        uri: The address of a model.

    Raises:
        ServingError: The text has no such form, and no folder of this name holds a model.
    """
    if _MODEL.fullmatch(uri) or _SCHEME.match(uri) or (Path(uri) / "MLmodel").is_file():
        return
    name = uri.removeprefix("models:/").strip("/") or "NAME"
    example = f"models:/{name}@champion" if re.fullmatch(r"[^/@:]+", name) else "models:/NAME@champion"
    raise ServingError(
        f"{uri} is no address of a model; name one as {example}, models:/NAME/VERSION, models:/ID, or a "
        "folder with the file MLmodel"
    )
