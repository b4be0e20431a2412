"""A file in a folder is a choice."""

import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from stages.common import plugins

CHOICE = """
from typing import Literal
from stages.common.section import Section

class Params(Section):
    kind: Literal["{kind}"]
    size: int
"""


@pytest.fixture
def shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with two choices and a helper."""
    package = tmp_path / "shapes"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "_helper.py").write_text("raise RuntimeError('a helper is no choice')")
    for kind in ("square", "circle"):
        (package / f"{kind}.py").write_text(CHOICE.format(kind=kind))
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "shapes"]:
        monkeypatch.delitem(sys.modules, name)
    return "shapes"


def test_choices_are_the_files_without_helpers(shapes: str) -> None:
    assert plugins.names(shapes) == ["circle", "square"]
    assert f"{shapes}.circle" not in sys.modules


def test_a_choice_is_imported_by_name(shapes: str) -> None:
    assert plugins.module(shapes, "square").__name__ == "shapes.square"
    with pytest.raises(ModuleNotFoundError):
        plugins.module(shapes, "hexagon")


def test_the_union_tells_choices_apart_by_kind(shapes: str) -> None:
    adapter = TypeAdapter(plugins.union(shapes))
    assert adapter.validate_python({"kind": "circle", "size": 2}).kind == "circle"
    with pytest.raises(ValidationError, match="'circle', 'square'"):
        adapter.validate_python({"kind": "hexagon", "size": 2})


def test_a_single_choice_needs_no_telling_apart(shapes: str, tmp_path: Path) -> None:
    (tmp_path / "shapes" / "square.py").unlink()
    adapter = TypeAdapter(plugins.union(shapes))
    assert adapter.validate_python({"kind": "circle", "size": 2}).size == 2
