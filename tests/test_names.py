"""Names say what they hold: words that could name anything are refused."""

import ast
from collections.abc import Iterator

import pytest

from tests.paths import ROOT

ROOMS = ("stages", "pipelines", "apps", "benchmarks", "tests")
VAGUE = {"apart", "asked", "found", "given", "here", "kept", "known", "made", "many", "mine", "of", "one"}
VAGUE |= {"said", "some", "taken", "theirs", "there", "told", "what", "whole"}
# `left` names a place in an image, or the first of two operands, where a file also has one of these.
SIDES = {"top", "right"}
# Keys of files: `of` in params.yaml's `book` and in results/reproduction.csv.
KEYS = {("stages/scoring/books.py", "of"), ("stages/report/pages/reproduction.py", "of")}


def names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every name that the code binds, with its line: variables, arguments, attributes, functions, classes."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store(), lineno=line) | ast.arg(arg=name, lineno=line):
                yield name, line
            case ast.FunctionDef(name=name, lineno=line) | ast.ClassDef(name=name, lineno=line):
                yield name, line
            case ast.Attribute(attr=name, ctx=ast.Store(), lineno=line):
                yield name, line


@pytest.mark.parametrize("room", ROOMS)
def test_no_name_is_vague(room: str) -> None:
    vague = []
    for path in sorted((ROOT / room).rglob("*.py")):
        place = path.relative_to(ROOT).as_posix()
        bound = list(names(ast.parse(path.read_text(encoding="utf-8"))))
        refused = VAGUE if SIDES & {name for name, _ in bound} else VAGUE | {"left"}
        vague += [
            f"{place}:{line}: {name}"
            for name, line in bound
            if name.strip("_") in refused and (place, name) not in KEYS
        ]
    assert not vague, "\n".join(vague)
