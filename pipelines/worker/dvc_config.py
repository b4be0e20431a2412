"""DVC's configuration files: values in quotes where they have a # or a comma, which paths may have."""

from collections.abc import Mapping
from pathlib import Path

from configobj import ConfigObj


def write(path: Path, sections: Mapping[str, Mapping[str, str]]) -> None:
    """Write a file of sections with their keys and values.

    By DVC's own parser: a path written as it is ends at a #, and becomes a list at a comma.
    """
    config = ConfigObj(interpolation=False)
    config.update({section: dict(values) for section, values in sections.items()})
    path.write_text("\n".join(config.write()) + "\n", encoding="utf-8")
