"""All that a feature follows from besides the pixels."""

from pathlib import Path
from typing import Any

from stages.common import fingerprint
from stages.common.files import digest
from stages.models import environment, extractors
from stages.models.protocols import ExtractorParams


def follows_from(params: ExtractorParams, shape: tuple[int, ...]) -> dict[str, Any]:
    """Code, params and weights, versions, and the machine: processors round floats each in their own way."""
    values = params.model_dump(mode="json")
    files = [Path(value).expanduser() for value in values.values() if isinstance(value, str) and value]
    return {
        "code": fingerprint.code("stages.extract", {extractors.__name__: (params.kind,)}),
        "params": values,
        "shape": shape,
        "files": {str(path): digest(path) for path in files if path.is_file()},
        **environment.describe(),
    }
