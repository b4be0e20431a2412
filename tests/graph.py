"""A stage of dvc.yaml, read as DVC and the command line read it."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from stages import cli


@dataclass(frozen=True)
class Declared:
    """One stage of dvc.yaml with its templates filled in."""

    module: str
    positionals: list[str]
    options: dict[str, str]
    deps: list[str]
    params: list[str]
    outs: list[str]

    @property
    def stage(self) -> cli.Command[..., Any]:
        """The function behind `python -m stages.NAME`."""
        function = getattr(import_module(f"stages.{self.module}"), self.module)
        assert isinstance(function, cli.Command)
        return function


def filled(text: str, scope: Mapping[str, Any]) -> str:
    """`${a.b}` replaced by scope["a"]["b"]."""

    def value(match: re.Match[str]) -> str:
        inside: Any = scope
        for part in match[1].split("."):
            inside = inside[part]
        return str(inside)

    return re.sub(r"\$\{([^}]+)\}", value, text)


def command(text: str, scope: Mapping[str, Any]) -> str:
    """A command with what DVC and stages/cli.py fill in: the stage's address, the entry's name and input."""
    name = str(scope.get("key", ""))
    words = {"$DVC_STAGE": name, "{name}": name, "{input}": scope.get("item", {}).get("input", "")}
    for word, meaning in words.items():
        text = text.replace(word, meaning)
    return text


def declared(stage: Mapping[str, Any], scope: Mapping[str, Any]) -> Declared:
    python, dash_m, module, *words = shlex.split(command(stage["cmd"], scope))
    assert (python, dash_m) == ("python", "-m")
    first = next((place for place, word in enumerate(words) if word.startswith("--")), len(words))
    names, paths = words[first::2], words[first + 1 :: 2]
    outs = [*stage.get("outs", []), *stage.get("metrics", [])]
    return Declared(
        module=module.removeprefix("stages."),
        positionals=words[:first],
        options=dict(zip((name.removeprefix("--") for name in names), paths, strict=True)),
        deps=[filled(dep, scope) for dep in stage["deps"]],
        params=[filled(key, scope) for key in stage.get("params", [])],
        outs=[filled(out, scope) for out in outs],
    )
