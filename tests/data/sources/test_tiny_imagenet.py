"""The layout of Tiny ImageNet."""

from pathlib import Path

import pytest

from stages.common.errors import SourceError
from stages.data.sources import images, tiny_imagenet


def result(root: Path) -> dict[str, tuple[str | None, str | None]]:
    params = tiny_imagenet.Params(kind="tiny_imagenet", path=root)
    return {image.name: (image.label, image.split) for image in images(params)}


def laid_out(root: Path) -> None:
    for name in (
        "train/n01/images/n01_0.JPEG",
        "train/n02/images/n02_0.JPEG",
        "train/n02/n02_boxes.txt",
        "val/images/val_0.JPEG",
        "val/images/val_1.JPEG",
        "test/images/test_0.JPEG",
        "words.txt",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn02\t0\t0\t9\t9\n\nother.JPEG\tn01\n")


def test_classes_come_from_folders_and_annotations(tmp_path: Path) -> None:
    laid_out(tmp_path)
    assert result(tmp_path) == {
        "train/n01/images/n01_0.JPEG": ("n01", "train"),
        "train/n02/images/n02_0.JPEG": ("n02", "train"),
        "val/images/val_0.JPEG": ("n02", "val"),
        "val/images/val_1.JPEG": (None, "val"),
    }


def test_classes_are_the_words_that_no_other_class_has(tmp_path: Path) -> None:
    laid_out(tmp_path)
    (tmp_path / "train" / "n03" / "images").mkdir(parents=True)
    (tmp_path / "train" / "n03" / "images" / "n03_0.JPEG").touch()
    words = (
        "n01\tcrane, a bird\nn02\tgoldfish, Carassius auratus\nn03\tcrane\nn99\tgoldfish, of no class here\n"
    )
    (tmp_path / "words.txt").write_text(words, encoding="utf-8")
    assert result(tmp_path) == {
        "train/n01/images/n01_0.JPEG": ("n01", "train"),
        "train/n02/images/n02_0.JPEG": ("goldfish", "train"),
        "train/n03/images/n03_0.JPEG": ("n03", "train"),
        "val/images/val_0.JPEG": ("goldfish", "val"),
        "val/images/val_1.JPEG": (None, "val"),
    }


def test_missing_annotations_are_named(tmp_path: Path) -> None:
    laid_out(tmp_path)
    (tmp_path / "val" / "val_annotations.txt").unlink()
    with pytest.raises(SourceError, match=r"val_annotations\.txt cannot be read"):
        result(tmp_path)


def test_a_folder_laid_out_otherwise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="train does not exist"):
        result(tmp_path)
