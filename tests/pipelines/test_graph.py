"""dvc.yaml as a graph: what waits for what, members of a run, settings."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines import graph
from tests.paths import ROOT


@pytest.fixture
def load(tmp_path: Path) -> Any:
    def written(text: str) -> dict[str, graph.Stage]:
        path = tmp_path / "dvc.yaml"
        path.write_text(f"stages:\n{text}", encoding="utf-8")
        return graph.load(path)

    return written


def test_convoys_own_graph() -> None:
    stages = graph.load(ROOT / "dvc.yaml")
    assert set(stages) == set(yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"])
    upstream = {name: set(stage.upstream) for name, stage in stages.items()}
    assert upstream["ingest"] == set()
    assert upstream["resize"] == {"ingest"}
    assert upstream["pack"] == {"mean"}, "what mean waits for already is left out"
    assert upstream["train"] == {"extract"}, "a report is no input of a member"
    assert upstream["predict"] == {"train"}
    assert stages["train"].members == stages["predict"].members == "models"
    assert stages["extract"].members == "extractors"


def test_members_are_those_of_the_runs_params() -> None:
    stages = graph.load(ROOT / "dvc.yaml")
    params: dict[str, Any] = {"models": {"a": {}, "b": {}}, "extractors": None}
    assert stages["train"].addresses(params) == ["train@a", "train@b"]
    assert stages["extract"].addresses(params) == []
    assert stages["pack"].addresses(params) == ["pack"]


def test_folders_files_and_templates_overlap_as_paths_do(load: Any) -> None:
    stages = load("""
  a: {cmd: x, outs: [out/one.txt, {other: {cache: false}}]}
  b: {cmd: x, deps: [out]}
  c: {cmd: x, deps: [other/file]}
  d: {cmd: x, deps: [out/one.txt.bak, outer]}
  e: {foreach: "${m}", do: {cmd: x, deps: ["out/${key}.txt"], outs: ["e/${key}"]}}
  f: {foreach: "${m}", do: {cmd: x, deps: ["e/${key}/part"]}}
  g: {cmd: x, deps: ["${source.path}"]}
""")
    assert {name: set(stage.upstream) for name, stage in stages.items()} == {
        "a": set(),
        "b": {"a"},
        "c": {"a"},
        "d": set(),
        "e": {"a"},
        "f": {"e"},
        "g": set(),
    }


def test_an_input_that_a_member_names_can_be_any_output_before_it(load: Any) -> None:
    stages = load("""
  last: {cmd: x, deps: [models]}
  train: {foreach: "${models}", do: {cmd: x, deps: ["${item.input}"], outs: ["models/${key}"]}}
  pack: {cmd: x, outs: [packed]}
  extract: {foreach: "${extractors}", do: {cmd: x, deps: [packed], outs: ["features/${key}"]}}
""")
    assert set(stages["train"].upstream) == {"extract"}
    assert set(stages["last"].upstream) == {"train"}
    assert list(stages) == ["pack", "extract", "train", "last"], "each after those it waits for"


def test_settings_have_defaults_and_are_checked(load: Any) -> None:
    stages = load("  a: {cmd: x, meta: {image: train, memory: 4Gi, cpu: 2, gpu: 1}}\n  b: {cmd: x}\n")
    assert stages["a"].settings == graph.Settings(image="train", memory="4Gi", cpu=2, gpu=1)
    assert stages["b"].settings == graph.Settings()
    for meta, says in {
        "{ram: 4Gi}": "dvc.yaml: a: meta has no ram; it has image, cpu",
        "{cpu: two}": "dvc.yaml: a: meta.cpu is 'two'; must be float",
        "{gpu: true}": "meta.gpu is True; must be int",
    }.items():
        with pytest.raises(graph.GraphError, match=says):
            load(f"  a: {{cmd: x, meta: {meta}}}\n")


def test_what_cannot_become_tasks_is_refused(load: Any) -> None:
    with pytest.raises(graph.GraphError, match="a: matrix is not supported"):
        load("  a: {matrix: {x: [1]}, cmd: x}\n")
    with pytest.raises(graph.GraphError, match="a: foreach must name a section of the params"):
        load("  a: {foreach: [1, 2], do: {cmd: x}}\n")


def test_a_runs_gpus_are_those_of_the_stages_whose_image_can_use_them() -> None:
    train, data = graph.Settings(image="train", gpu=1), graph.Settings()
    assert (train.with_gpus(2).gpu, train.with_gpus(0).gpu, train.with_gpus(None).gpu) == (2, 0, 1)
    assert data.with_gpus(2) == data
    assert (train.with_gpus(2).slots, data.slots) == (2, 1), "slots of its pool"


def test_a_runs_nodes_are_those_of_the_stages_that_train_networks(load: Any) -> None:
    stages = load(
        """
  train: {foreach: "${models}", do: {cmd: python -m stages.train x, meta: {nodes: 2}}}
  resize: {cmd: python -m stages.resize}
"""
    )
    train, resize = stages["train"].settings, stages["resize"].settings
    assert (train.nodes, train.with_nodes(3).nodes, train.with_nodes(None).nodes) == (2, 3, 2)
    assert (train.slots, train.with_gpus(4).slots) == (2, 2), "slots of its pool; its image has no GPUs"
    assert resize.with_nodes(3) == resize


def test_a_runs_pool_is_that_of_stages_that_name_none() -> None:
    own = graph.Settings(pool="own")
    assert graph.Settings().with_pool("gpu").pool == "gpu"
    assert (own.with_pool("gpu"), own.with_pool(None), own.with_pool("")) == (own, own, own)


@pytest.mark.parametrize(
    ("command", "nodes", "says"),
    [
        ("python -m stages.resize", 2, "meta.nodes is 2; must be 1, as the stage trains no network"),
        ("python -m stages.train x", 0, "meta.nodes is 0; must be a number from 1"),
    ],
)
def test_nodes_are_refused_of_a_stage_that_trains_nothing(
    load: Any, command: str, nodes: int, says: str
) -> None:
    with pytest.raises(graph.GraphError, match=f"dvc.yaml: a: {says}"):
        load(f"  a: {{cmd: {command}, meta: {{nodes: {nodes}}}}}\n")


def test_train_is_a_stage_that_trains_networks() -> None:
    stages = graph.load(ROOT / "dvc.yaml")
    assert [name for name, stage in stages.items() if stage.settings.trains] == ["train"]


def test_one_stage_may_wait_for_a_person(load: Any) -> None:
    stages = load("  a: {cmd: x, meta: {approval: dry}}\n  b: {cmd: x}\n")
    assert (stages["a"].settings.approval, stages["b"].settings.approval) == ("dry", "")
    with pytest.raises(graph.GraphError, match=r"a, b: one stage, without foreach, may have meta\.approval"):
        load("  a: {cmd: x, meta: {approval: dry}}\n  b: {cmd: x, meta: {approval: dry}}\n")
    with pytest.raises(graph.GraphError, match="a: one stage, without foreach"):
        load('  a: {foreach: "${m}", do: {cmd: x, meta: {approval: dry}}}\n')


def test_the_stage_that_waits_for_a_person_depends_on_the_param_of_a_rejection() -> None:
    (waiting,) = [stage for stage in graph.load(ROOT / "dvc.yaml").values() if stage.settings.approval]
    section, _, key = waiting.settings.approval.partition(".")
    declared = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"][waiting.name]
    assert section in declared["params"]
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert params[section][key] is False
