"""What a member has seen: today's splits but test, and what the training it continues has seen."""

from pathlib import Path

import pytest

from stages.common.errors import ParamsError, ServingError
from stages.data import image_set, store
from stages.models import seen_images
from tests.project import Project


def ids(packed: Project, *splits: str) -> list[str]:
    chosen = []
    for split in splits:
        with store.Reader(packed.packed / f"{split}.h5") as rows:
            chosen += rows.ids.tolist()
    return chosen


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A member's network without a list of images."""
    folder = tmp_path / "finished"
    folder.mkdir()
    (folder / "model.keras").write_bytes(b"weights")
    return folder / "model.keras"


def test_a_training_sees_all_splits_but_test(packed: Project) -> None:
    images = seen_images.of_training(packed.packed, None)
    assert images.tolist() == image_set.of_ids(ids(packed, "train", "val")).tolist()


def test_a_continuation_has_seen_what_its_origin_has(packed: Project, origin: Path) -> None:
    gone = ["00000000000000ff"]
    image_set.write(origin.with_name("seen.bin"), image_set.of_ids([*gone, *ids(packed, "val")]))
    images = seen_images.of_training(packed.packed, origin)
    assert images.tolist() == image_set.of_ids([*gone, *ids(packed, "train", "val")]).tolist()


def test_a_checkpoint_of_a_member_has_seen_what_the_member_has(packed: Project, origin: Path) -> None:
    checkpoint = origin.parent / "checkpoints" / "epoch-001-val_loss-0.5.npz"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    image_set.write(origin.with_name("seen.bin"), image_set.of_ids(["00000000000000ff"]))
    assert 0xFF in seen_images.of_training(packed.packed, checkpoint)


def test_an_origin_that_has_seen_test_images_is_refused(packed: Project, origin: Path) -> None:
    """As the accuracy on the test split, and a promotion by it, would be of images it was fitted to."""
    test = ids(packed, "test")
    image_set.write(origin.with_name("seen.bin"), image_set.of_ids(test[:2]))
    with pytest.raises(ParamsError, match=rf"was trained on 2 of the {len(test)} images of the test split"):
        seen_images.of_training(packed.packed, origin)


def test_an_origin_that_does_not_say_what_it_has_seen_is_refused(packed: Project, origin: Path) -> None:
    with pytest.raises(ParamsError, match=r"finished/seen\.bin is missing"):
        seen_images.of_training(packed.packed, origin)


def test_an_ensemble_has_seen_what_any_member_has(tmp_path: Path) -> None:
    folders = [tmp_path / "first", tmp_path / "second"]
    for number, folder in enumerate(folders, 1):
        folder.mkdir()
        image_set.write(folder / "seen.bin", image_set.of_ids([f"{number:016x}", "00000000000000ff"]))
    assert seen_images.of_members(folders).tolist() == [1, 2, 0xFF]
    (folders[0] / "seen.bin").unlink()
    with pytest.raises(ServingError, match=r"first/seen\.bin is missing: .*run train again"):
        seen_images.of_members(folders)
