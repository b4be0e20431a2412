"""What dvc.yaml, the stages and the params promise one another."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from stages.params import Params
from stages.tools import dependencies
from stages.tools.running import checking
from tests.graph import Declared, declared
from tests.paths import ROOT

PARAMS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


def expanded() -> dict[str, Declared]:
    """Every stage of dvc.yaml by its DVC name, `foreach` written out."""
    stages: dict[str, Declared] = {}
    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"].items():
        if "foreach" not in stage:
            stages[name] = declared(stage, PARAMS)
            continue
        section = PARAMS[stage["foreach"].strip("${}")]
        for key, item in section.items():
            stages[f"{name}@{key}"] = declared(stage["do"], PARAMS | {"key": key, "item": item})
    return stages


STAGES = expanded()
each_stage = pytest.mark.parametrize("name", STAGES)


def test_no_command_holds_a_value_of_the_params() -> None:
    """DVC quotes nothing that it fills in, and a shell reads the command."""
    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"].items():
        assert "${" not in stage.get("do", stage)["cmd"], name


def test_the_graph_has_the_stages_it_should_have() -> None:
    names = [name.split("@")[0] for name in STAGES]
    flow = "ingest audit resize mean pack extract train predict ensemble evaluate promote summarize"
    assert list(dict.fromkeys(names)) == flow.split()


def test_folders_of_outputs_are_those_that_make_run_checks_and_make_clean_removes() -> None:
    folders = {out.partition("/")[0] for stage in STAGES.values() for out in stage.outs}
    assert folders == set(checking._OUTPUTS)
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nclean:")[2].partition("\n\n")[0]
    assert folders <= set(recipe.partition("rm -rf")[2].split())


@each_stage
def test_a_stage_is_the_function_its_module_is_named_after(name: str) -> None:
    stage = STAGES[name]
    assert stage.module == name.partition("@")[0]
    assert stage.stage.function.__name__ == stage.module
    assert f"stages/{stage.module}.py" in stage.deps


@each_stage
def test_the_command_gives_every_argument_and_no_other(name: str) -> None:
    stage = STAGES[name]
    arguments = inspect.signature(stage.stage.function).parameters.values()
    places = [argument for argument in arguments if argument.name not in stage.stage.reads]
    assert [argument.annotation for argument in places] == [str] * len(stage.positionals) + [Path] * len(
        stage.options
    )
    assert {argument.name.replace("_", "-") for argument in places if argument.annotation is Path} == set(
        stage.options
    )


@each_stage
def test_every_path_of_the_command_is_a_dep_or_an_out(name: str) -> None:
    stage = STAGES[name]
    declared = [*stage.deps, *stage.outs]
    for option, path in stage.options.items():
        around = [place for place in declared if place.startswith(f"{path}/")]
        assert path in declared or around, f"--{option} {path}"


@each_stage
def test_a_stage_lists_the_params_it_reads_and_no_others(name: str) -> None:
    stage = STAGES[name]
    arguments = inspect.signature(stage.stage.function).parameters
    places = [
        name for name in arguments if arguments[name].annotation is str and name not in stage.stage.reads
    ]
    values = dict(zip(places, stage.positionals, strict=True))
    read = {key.format(**values) for key in stage.stage.reads.values()}
    # To train, the recipe is a label: another name for the same params must not train a network again.
    # Elsewhere it decides: promote registers a model under this name. What ingest computes ahead for resize
    # and audit goes into the store of image results alone.
    read -= {"train": {"recipe"}, "ingest": {"resize", "audit.samples"}}.get(stage.module, set())
    listed = set(stage.params)
    for section in read - listed:
        # One by one counts as the whole, if none is left out.
        value = value_at(section)
        leaves = {f"{section}.{key}" for key in value} if isinstance(value, dict) else {section}
        assert leaves <= listed, f"{section} is read and not listed"
        listed = listed - leaves | {section}
    assert listed == read


def value_at(key: str) -> Any:
    inside: Any = PARAMS
    for part in key.split("."):
        inside = inside[part]
    return inside


def sections_within(kind: Any) -> Iterator[type[BaseModel]]:
    """A pydantic model and every model that its fields can hold, all choices of a union included."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
        for field in kind.model_fields.values():
            yield from sections_within(field.annotation)
    for argument in get_args(kind):
        yield from sections_within(argument)


def kind_of(section: str) -> Any:
    """The type of the params at a key; of an entry of a mapping, the type of its values."""
    first, *rest = section.split(".")
    annotation = Params.model_fields[first].annotation
    return get_args(annotation)[1] if rest else annotation


@pytest.mark.parametrize("section", sorted({key for stage in STAGES.values() for key in stage.params}))
def test_no_section_listed_as_a_whole_has_a_key_that_the_run_cache_ignores(section: str) -> None:
    """DVC's run cache compares without `size` and `nfiles`: it would restore what another size made."""
    if section.startswith("resize.") or isinstance(value_at(section), str):
        return
    sections = list(sections_within(kind_of(section)))
    assert sections
    for model in sections:
        assert not {"size", "nfiles"} & set(model.model_fields), f"{model.__module__}: list it key by key"


def test_the_scan_for_ignored_keys_sees_every_plug_in() -> None:
    names = {f"{section.__module__}.{section.__name__}" for section in sections_within(kind_of("models"))}
    assert {
        "stages.models.learners._cnn_params.Params",
        "stages.models.learners._cnn_params.Training",
        "stages.models.training.optimizers.Sgd",
        "stages.models.training.optimizers.Adam",
        "stages.models.learners.logistic_regression.Params",
    } <= names


def test_the_code_among_the_deps_is_the_import_closure() -> None:
    """Every file that decides a stage's result is listed, and no file that decides nothing."""
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    assert text.split("\n") == dependencies.renew(text).split("\n"), (
        "renew dvc.yaml with: python -m stages.tools.dependencies"
    )


@each_stage
def test_code_and_sources_that_are_deps_exist(name: str) -> None:
    for dep in STAGES[name].deps:
        assert not dep.startswith("stages/") or (ROOT / dep).exists(), dep


@each_stage
def test_every_other_dep_is_made_by_an_earlier_stage(name: str) -> None:
    earlier: list[str] = []
    for stage_name, stage in STAGES.items():
        if stage_name == name:
            break
        earlier += stage.outs
    for dep in STAGES[name].deps:
        is_output = dep in earlier or any(out.startswith(f"{dep}/") for out in earlier)
        is_tracked = dep.startswith(("stages/", "conf")) or dep == "params.yaml"
        assert is_output or is_tracked or dep == PARAMS["ingest"]["source"]["path"], dep


def test_the_source_is_a_dep_of_ingest_alone() -> None:
    """DVC looks at each file of the source several times for each stage that lists it."""
    source = PARAMS["ingest"]["source"]["path"]
    assert [name for name, stage in STAGES.items() if source in stage.deps] == ["ingest"]


def test_no_path_is_made_twice() -> None:
    outs = [out for stage in STAGES.values() for out in stage.outs]
    assert len(outs) == len(set(outs))


def test_only_evaluate_and_predict_are_given_the_test_split_to_judge() -> None:
    """train reads data/packed, which holds the test split too: its code must not name it."""
    rooms = [ROOT / "stages" / room for room in ("models/learners", "models/training")]
    for path in (ROOT / "stages" / "train.py", *(file for room in rooms for file in room.rglob("*.py"))):
        text = path.read_text(encoding="utf-8")
        strings = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
        assert not [text for text in strings if isinstance(text, str) and re.fullmatch(r"test(\.h5)?", text)]
        assert "HELD_OUT" not in text
