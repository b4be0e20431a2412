"""The recipe for images of one's own, and the overrides that carry any path to Hydra."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from stages.data import layout
from stages.tools.running import choosing
from tests.data.test_layout import files


@pytest.mark.parametrize(
    "name",
    [
        "mobilenet_v2_0.35_224_no_top.weights.h5",
        "mobilenet_v2_0.35_224_no_top.weights (1).h5",
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5",
    ],
)
def test_weights_in_datasets_are_used_with_their_width(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(choosing, "_WEIGHTS_URL", "http://127.0.0.1:9/")
    assert choosing.choose(tmp_path).recipe == "images_from_scratch"
    weights = tmp_path / name
    weights.touch()
    choice = choosing.choose(tmp_path)
    assert choice.recipe == "images"
    root = files(tmp_path / "images", *(f"{c}/{n}.jpg" for c in "ab" for n in range(3)))
    overrides = choosing.source_overrides(layout.recognize(root), choice)[-2:]
    parsed = OverridesParser.create().parse_overrides(overrides)
    assert {override.key_or_group: override.value() for override in parsed} == {
        "extractors.mobilenet_v2.weights": str(weights),
        "extractors.mobilenet_v2.options": {"alpha": 0.35},
    }


@pytest.mark.parametrize(
    "name", ["My images", "it's", 'a"b', "x; touch y", "$(touch y)", "ä=ö,ü", "a\\b", "a\\'b", "end\\", "[1]"]
)
def test_any_path_reaches_hydra_as_it_is(tmp_path: Path, name: str) -> None:
    root = files(tmp_path / name, *(f"{c}/{n}.jpg" for c in "ab" for n in range(3)))
    choice = choosing.Choice("images_from_scratch", "small members")
    words = choosing.source_overrides(layout.recognize(root), choice)
    overrides = [word for word in words if word.startswith("++ingest.source.path=")]
    (parsed,) = OverridesParser.create().parse_overrides(overrides)
    assert parsed.value() == str(root)
