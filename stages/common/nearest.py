"""The key that a mistyped key most likely means. DVC's process imports this too: standard library alone."""

import difflib
from collections.abc import Iterator
from typing import Any


def nearest_key(key: str, values: Any) -> str | None:
    """Return the key whose parts are the most similar; for a single word also a key that ends with it.

    Args:
        key: A dotted key that `values` lacks.
        values: Nested mappings, as the params are.
    """
    matches: list[str] = []
    section = values
    for part in key.split("."):
        similar = difflib.get_close_matches(part, map(str, section), n=1) if isinstance(section, dict) else []
        if not similar:
            break
        matches.append(similar[0])
        section = section[similar[0]]
    else:
        return ".".join(matches)
    if "." in key:
        return None
    return next((path for path in _keys(values, "") if path.rpartition(".")[2] == key), None)


def _keys(values: Any, before: str) -> Iterator[str]:
    if isinstance(values, dict):
        for name, value in values.items():
            yield f"{before}{name}"
            yield from _keys(value, f"{before}{name}.")
