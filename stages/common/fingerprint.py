"""The code that a result follows from: the files that a module imports, directly or not, inside `stages/`.

dvc.yaml lists these files per stage (`tests/test_contract.py` compares), and a checkpoint, a stored result
and a served bundle are valid for the same files only. The imports are read from the syntax tree: imports
inside functions count, imports under `if TYPE_CHECKING:` do not. A file beside a module, or a template, is
imported where the module names it. Of a folder of plug-ins, those that the caller chooses count.

Rejected: `sys.modules` after an import shows what one run loaded, which depends on the params of that run;
`modulefinder` and grimp do not know plug-ins, and grimp reads the whole package in each process.
"""

import ast
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

from stages.common.files import digest as file_digest

ROOT = Path(__file__).parents[2]
_TEMPLATES = "stages/report/templates"
_EXTENDS = re.compile(r"\{%-?\s*(?:extends|include|import|from)\s+\"([^\"]+)\"")
_FILE = re.compile(r"[\w.-]+\.(?:py|j2)")

# Modules that cannot change a result: how a stage is called, logged, tracked; helpers of files and threads.
# The values of the params count, and DVC compares them itself.
NEUTRAL = ("stages.cli", "stages.params", "stages.common", "stages.tracking")
# What a module uses only to report to people and to MLflow: a better chart must not train a network again.
REPORTED = {"stages.train": ("stages.report", "stages.scoring", "stages.serving")}

# The chosen plug-ins of a package: their names, or all of them.
Choice: TypeAlias = "tuple[str, ...] | Literal['all']"


def files(module: str, choices: Mapping[str, Choice] | None = None) -> list[str]:
    """The files of a module's import closure, as sorted POSIX paths below the repository's root.

    Args:
        module: Dotted name of a module in `stages/`.
        choices: Package of plug-ins → the chosen ones. A package that is not named counts without plug-ins.

    Raises:
        FileNotFoundError: A chosen plug-in does not exist.
    """
    chosen = choices or {}
    closure: set[Path] = set()
    waiting = [_path(module)]
    while waiting:
        path = waiting.pop()
        if path is None or path in closure:
            continue
        closure.add(path)
        waiting += _direct(path)
        waiting += _plugins(path, chosen.get(_name(path), ()))
    return sorted(path.relative_to(ROOT).as_posix() for path in closure if has_code(path))


def code(module: str, choices: Mapping[str, Choice] | None = None) -> dict[str, str]:
    """Path → SHA-256 of each file of `files`."""
    return {path: file_digest(ROOT / path) for path in files(module, choices)}


def digest(*parts: object) -> str:
    """The SHA-256 (hex) of values that JSON can hold; what is not JSON's counts as its text."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


@cache
def _direct(path: Path) -> tuple[Path, ...]:
    """The files that one file imports or names, without those that cannot change a result."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return tuple(path.with_name(name) for name in _EXTENDS.findall(text))
    name = _name(path)
    reported = next((rooms for room, rooms in REPORTED.items() if _within(name, room)), ())
    imported = [module for module in _imports(ast.parse(text)) if not _within(module, *NEUTRAL, *reported)]
    # Importing a.b.c runs a and a.b first.
    packages = {module.rsplit(".", depth)[0] for module in imported for depth in range(module.count("."))}
    paths = [_path(module) for module in sorted(packages)]
    return (*(file for file in paths if file), *_named(path, text))


def _imports(tree: ast.AST) -> Iterator[str]:
    """Each imported module of `stages`, and each imported name, which may be a module too."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for other in node.orelse:
                yield from _imports(other)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _within(alias.name, "stages"))
        elif isinstance(node, ast.ImportFrom) and node.module and _within(node.module, "stages"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from _imports(node)


def _named(path: Path, text: str) -> Iterator[Path]:
    """Files that a string names: templates, and scripts beside the module that run in another process."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _FILE.fullmatch(node.value):
            for folder in (path.parent, ROOT / _TEMPLATES):
                if (named := folder / node.value).is_file():
                    yield named


def _plugins(path: Path, choice: Choice) -> list[Path]:
    if choice == "all":
        return [plugin for plugin in path.parent.glob("*.py") if not plugin.name.startswith("_")]
    chosen = [path.with_name(f"{name}.py") for name in choice]
    for plugin in chosen:
        if not plugin.is_file():
            raise FileNotFoundError(f"{plugin.relative_to(ROOT)}: no such plug-in")
    return chosen


def _path(module: str) -> Path | None:
    """The file of a dotted name, or None for a name inside a module."""
    place = ROOT.joinpath(*module.split("."))
    candidates = (place.with_suffix(".py"), place / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def _name(path: Path) -> str:
    """The dotted name of a file."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _within(module: str, *rooms: str) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


@cache
def has_code(path: Path) -> bool:
    """Whether a file is more than a docstring."""
    if path.suffix != ".py":
        return True
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return not all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body)
