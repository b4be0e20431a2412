"""docs/kubernetes.md as a reader follows it: the commands as they are, with the reader's own names."""

import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import yaml

from tests.paths import ROOT

PAGE = ROOT / "docs" / "kubernetes.md"
# The end of the steps to a first run.
AFTER_STEPS = "## What to know"
OUTSIDE = "## Airflow outside of the cluster"
VALUES = Path("docker/kubernetes/airflow.yaml")
# Helm is in no registry within reach. The stand-in writes down how it is called.
HELM = '#!/bin/sh\nprintf "%s\\n" "$*" >>"$HELM_CALLS"\n'
SECONDS = 1800


@dataclass(frozen=True)
class Release:
    """What the page has Helm install.

    Attributes:
        name: The release.
        namespace: Its namespace.
        values: The values' file.
    """

    name: str
    namespace: str
    values: Path


def commands() -> list[str]:
    """The code blocks that lead to a first run, in their order."""
    return _blocks(PAGE.read_text(encoding="utf-8").partition(AFTER_STEPS)[0])


def exported(names: dict[str, str], home: Path) -> dict[str, str]:
    """Run what the page has before `make airflow` outside of the cluster.

    Args:
        names: What the page has for the reader's own, and what to type in its place.
        home: The reader's home.

    Returns:
        The variables that `make airflow` then has, and nothing else of the reader's shell.

    Raises:
        AssertionError: A command failed; with its output.
    """
    block = _blocks(PAGE.read_text(encoding="utf-8").partition(OUTSIDE)[2])[0]
    script, start, _ = _typed(block, names).partition("make airflow")
    assert start, block
    words = ["bash", "-euo", "pipefail", "-c", f"{{ {script}}} >&2\nenv --null"]
    environment = {**os.environ, "HOME": str(home)}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{block}\n{done.stderr}"
    variables = dict(item.split("=", 1) for item in done.stdout.split("\0") if item)
    return {name: variables[name] for name in re.findall(r"\b([A-Z_]+)=", script)}


def with_names(repository: Path, names: dict[str, str], **variables: str) -> None:
    """Write a reader's own names and variables into the manifests of a clone.

    Args:
        repository: The clone.
        names: What the manifests have, and what to put in its place.
        variables: Additions to `env`.
    """
    for path in (repository / VALUES).parent.glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        for old, new in names.items():
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")
    values = yaml.safe_load((repository / VALUES).read_text(encoding="utf-8"))
    values["env"] += [{"name": name, "value": value} for name, value in variables.items()]
    (repository / VALUES).write_text(yaml.safe_dump(values), encoding="utf-8")


def follow(repository: Path, names: dict[str, str]) -> Release:
    """Run every block of the page in a clone.

    Args:
        repository: The clone that the reader's shell is in.
        names: What the page has for the reader's own, and what to type in its place.

    Returns:
        The release that Helm would install.

    Raises:
        AssertionError: A command failed; with its output.
    """
    programs = repository.parent / "programs"
    programs.mkdir()
    (programs / "helm").write_text(HELM, encoding="utf-8")
    (programs / "helm").chmod(0o755)
    calls = programs / "calls"
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "HELM_CALLS": str(calls)}
    for block in commands():
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", _typed(block, names)],
            cwd=repository,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout[-3000:]}"
    (call,) = [line for line in calls.read_text(encoding="utf-8").splitlines() if line.startswith("upgrade")]
    words = shlex.split(call)
    options = dict(pairwise(words))
    return Release(options["--install"], options["--namespace"], repository / options["--values"])


def _blocks(text: str) -> list[str]:
    return re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def _typed(block: str, names: dict[str, str]) -> str:
    """A block with the reader's own names."""
    for old, new in names.items():
        block = block.replace(old, new)
    return block
