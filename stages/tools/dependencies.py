"""Renew the code among the deps of dvc.yaml: `python -m stages.tools.dependencies`.

A stage lists its import closure (`stages/common/fingerprint.py`). A stage that runs with a chosen plug-in
names the plug-in by a template, `${item.kind}` or `${item.code}`; what any of the plug-ins imports besides is
listed for all of them, since a template cannot know it.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from stages import cli
from stages.common import fingerprint, log, plugins
from stages.common.files import replace_atomically
from stages.common.fingerprint import ROOT, Choice

_SOURCES, _EXTRACTORS = "stages.data.sources", "stages.models.extractors"
_LEARNERS, _NETWORKS = "stages.models.learners", "stages.models.networks"
# The learner whose file is not what makes its members different.
_FINE_TUNED = "stages/models/networks/keras_applications.py"


def renew_dependencies() -> None:
    """Write dvc.yaml anew where its deps differ from the import closures."""
    path = ROOT / "dvc.yaml"
    text = path.read_text(encoding="utf-8")
    renewed = renew(text)
    if renewed != text:
        with replace_atomically(path) as partial:
            partial.write_text(renewed, encoding="utf-8")
    log.event("renewed_dependencies" if renewed != text else "found_no_change", path="dvc.yaml")


def renew(text: str) -> str:
    """The text of dvc.yaml with the code that each stage needs among its deps, and no other code."""
    for name, declared in yaml.safe_load(text)["stages"].items():
        deps = declared.get("do", declared)["deps"]
        fixed = [dep for dep in deps if dep.startswith("stages/") and "${" not in dep]
        block = re.compile(rf"(\n  {name}:\n(?:    .*\n|\n)*?( +)deps:\n)((?:\2  .*\n)+)", re.MULTILINE)
        match = block.search(text)
        assert match is not None
        others = [dep for dep in deps if dep not in fixed]
        lines = "".join(f"{match[2]}  - {dep}\n" for dep in (*others, *code(name, others)))
        text = text[: match.start(3)] + lines + text[match.end(3) :]
    return text


def code(stage: str, others: list[str]) -> list[str]:
    """The files and whole folders of code that a stage lists beside the templates among `others`."""
    needed: set[str] = set()
    for chosen, item in _choices(stage):
        templates = {dep.replace("${item.kind}", item.get("kind", "")) for dep in others}
        needed |= set(fingerprint.files(f"stages.{stage}", chosen)) - templates - {item.get("code", "")}
    needed.add(own := f"stages/{stage}.py")
    for folder in sorted({Path(path).parent for path in needed}):
        inside = {
            path.relative_to(ROOT).as_posix()
            for path in (ROOT / folder).rglob("*")
            if path.suffix in (".py", ".j2") and fingerprint.has_code(path)
        }
        if len(inside) > 1 and inside <= needed:
            needed = needed - inside | {folder.as_posix()}
    return [own, *sorted(needed - {own})]


def _choices(stage: str) -> Iterator[tuple[dict[str, Choice], dict[str, str]]]:
    """Each choice of plug-ins that a stage can run with, and the entry of the params that makes it."""
    if stage == "ingest":
        yield {_SOURCES: "all"}, {}
    elif stage == "extract":
        for kind in plugins.names(_EXTRACTORS):
            yield {_EXTRACTORS: (kind,)}, {"kind": kind}
    elif stage == "promote":
        yield {_LEARNERS: "all", _EXTRACTORS: "all"}, {}
    elif stage == "train":
        for kind in plugins.names(_LEARNERS):
            file = _FINE_TUNED if kind == "fine_tuning" else f"stages/models/learners/{kind}.py"
            yield {_LEARNERS: (kind,)}, {"kind": kind, "code": file}
        for network in plugins.names(_NETWORKS):
            chosen: dict[str, Choice] = {_LEARNERS: ("cnn",), _NETWORKS: (network,)}
            yield chosen, {"kind": "cnn", "code": f"stages/models/networks/{network}.py"}
    elif stage == "predict":
        for kind in plugins.names(_LEARNERS):
            yield {_LEARNERS: (kind,)}, {"kind": kind}
    else:
        yield {}, {}


if __name__ == "__main__":
    cli.main(renew_dependencies)
