from pathlib import Path

import pytest

from stages.common.errors import ConvoyError
from stages.report.pages import costs


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "costs.csv"
    assert costs.read(path) == {}
    costs.write(path, {"resnet_cifar10_exp1": 21.96, "alexnet_dogs_vs_cats": 61.05})
    assert list(costs.read(path).items()) == [("alexnet_dogs_vs_cats", 61.0), ("resnet_cifar10_exp1", 22.0)]


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "costs.csv"
    path.write_text("recipe,seconds\nlenet_mnist,3\n", encoding="utf-8")
    with pytest.raises(ConvoyError, match=r"costs\.csv is no file of costs: "):
        costs.read(path)
