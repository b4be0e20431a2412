"""Contact sheets of augmented images, for the members that augment and no others."""

from pathlib import Path
from typing import Any

import cv2
import pytest
import yaml

from stages.common.errors import ParamsError
from stages.models.learners import cnn
from stages.tools.preview import preview
from tests.paths import ROOT

BASE = yaml.safe_load((ROOT / "conf" / "augment" / "base.yaml").read_text(encoding="utf-8"))
LENET = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["models"]["lenet"]


def network(augment: dict[str, Any] | None, patch: list[int] | None = None) -> cnn.Params:
    return cnn.Params.model_validate(LENET | {"augment": augment, "patch": patch})


def test_every_member_that_augments_gets_a_sheet(packed: Any, tmp_path: Path) -> None:
    models = {
        "plain": network(None),
        "turned": network(BASE | {"rotation": 30.0}),
        "mixed": network(BASE | {"mixup": 1.0}, patch=[12, 12]),
    }
    preview(models, packed=packed.packed, sheets=tmp_path / "sheets")
    assert sorted(path.name for path in (tmp_path / "sheets").iterdir()) == ["mixed.png", "turned.png"]
    sheets = [cv2.imread(str(tmp_path / "sheets" / f"{name}.png")) for name in ("turned", "mixed")]
    assert sheets[0].shape[1] > sheets[0].shape[0] > 300, "eight columns, six lines"
    assert (sheets[0] != sheets[1]).any()


def test_without_augmentation_it_says_how_to_get_some(packed: Any, tmp_path: Path) -> None:
    with pytest.raises(
        ParamsError, match=r"no model has an augment section.*/augment@models\.plain\.augment"
    ):
        preview({"plain": network(None)}, packed=packed.packed, sheets=tmp_path / "sheets")
    assert not (tmp_path / "sheets").exists()
