"""`make run`: what is said, and what is refused before DVC starts and before an image is decoded."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import pytest

from stages import cli
from stages.tools.run import run
from stages.tools.running import choosing, watching
from tests.data.test_layout import files
from tests.paths import ROOT

Refused = Callable[..., str]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's root without outputs; no ImageNet weights in Keras' cache and none to download."""
    root = tmp_path / "workspace"
    root.mkdir()
    for name in ("conf", "stages", "params.yaml"):
        (root / name).symlink_to(ROOT / name)
    monkeypatch.chdir(root)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(choosing, "_WEIGHTS_URL", "http://127.0.0.1:9/")
    return root


@pytest.fixture
def refused(workspace: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run a command that is refused; return its last line. DVC has not started, and nothing is decoded."""

    def line(*words: str) -> str:
        with pytest.raises(SystemExit) as stop:
            cli.main(run, [*words])
        assert stop.value.code in (1, 2)
        assert not (workspace / "data").exists()
        assert not (workspace / ".convoy" / "events.jsonl").exists()
        # A child process writes to the terminal itself; its line is passed on.
        return capsys.readouterr().err.strip().splitlines()[-1].replace('\\"', '"')

    return line


def two_classes(root: Path, count: int = 12) -> Path:
    return files(root, *(f"{name}/{n}.jpg" for name in ("cat", "dog") for n in range(count)))


def test_a_dry_run_says_what_it_would_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], workspace: Path
) -> None:
    root = two_classes(tmp_path / "My images")
    cli.main(run, [str(root), "--dry-run"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [str(root), "  layout    one folder per class"]
    assert lines[2] == "  images    24 files in 2 classes: cat 12, dog 12"
    assert "  recipe    images_from_scratch: HOG + logistic regression, and MiniVGGNet" in lines
    assert any(line.startswith("  time      about ") for line in lines)
    assert max(map(len, lines[1:])) <= 80
    assert "  splits    15 % of each class for validation, 15 % for the test, by content" in lines


@pytest.mark.parametrize(
    ("folders", "ending"),
    [
        (("",), "for the test, by content; 10 % of train as train-val"),
        (("train/", "test/"), "24; val cut out of train; 10 % of train as train-val"),
    ],
)
def test_a_dry_run_says_that_train_val_is_held_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], workspace: Path, folders: tuple[str, ...], ending: str
) -> None:
    for folder in folders:
        two_classes(tmp_path / "images" / folder)
    cli.main(run, [str(tmp_path / "images"), "--dry-run", "--set", "ingest.train_val_fraction=0.1"])
    assert ending in " ".join(capsys.readouterr().out.split())


def test_splits_are_not_taken_for_classes_in_an_archive_or_by_a_recipe(
    refused: Refused, tmp_path: Path
) -> None:
    names = [f"{name}/{n}.jpg" for name in ("train/cat", "train/dog", "test") for n in range(5)]
    root = files(tmp_path / "flat", *names)
    archive = shutil.make_archive(str(tmp_path / "photos"), "zip", root)
    assert "photos.zip: its folder 'test' is named as a split and holds no folder" in refused(archive)
    named = refused("--recipe", "images_from_scratch", "--set", f"ingest.source.path='{root}'")
    assert "its folder 'test' is named as a split" in named
    shutil.rmtree(root / "test")
    sorted_ones = shutil.make_archive(str(tmp_path / "sorted"), "zip", root)
    cli.main(run, [sorted_ones, "--dry-run"])


def test_params_of_ones_own_reach_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], workspace: Path
) -> None:
    cli.main(run, [str(two_classes(tmp_path / "a")), "--set", "resize.size=[32,48]", "--dry-run"])
    assert "images of 32 x 48 pixels" in capsys.readouterr().out


def test_too_few_images_or_classes(refused: Refused, tmp_path: Path) -> None:
    few = files(tmp_path / "few", *(f"cat/{n}.jpg" for n in range(5)), "dog/1.jpg", "dog/2.jpg")
    assert "each class needs 3 images or more, one for each split; too few: dog 2" in refused(str(few))
    three = files(tmp_path / "three", *(f"{name}/{n}.jpg" for name in ("cat", "dog") for n in range(3)))
    with_train_val = refused(str(three), "--set", "ingest.train_val_fraction=0.1")
    assert "each class needs 4 images or more, one for each split; too few: cat 3, dog 3" in with_train_val
    single = files(tmp_path / "single" / "train", *(f"cat/{n}.jpg" for n in range(5))).parent
    assert "at least two classes; here: cat" in refused(str(single))


def test_a_class_with_fewer_training_images_than_folds(refused: Refused, tmp_path: Path) -> None:
    four = files(tmp_path / "four", *(f"cat/{n}.jpg" for n in range(9)), *(f"dog/{n}.jpg" for n in range(4)))
    ending = "so that 3 are left to train on (models.hog_logistic.folds); too few: dog 4"
    assert f"{four}: each class needs 5 images or more, {ending}" in refused(str(four))
    recipe = refused("--recipe", "images_from_scratch", "--set", f"ingest.source.path={four}")
    assert f"each class needs 5 images or more, {ending}" in recipe
    files(four, "dog/5.jpg")
    with_train_val = refused(str(four), "--set", "ingest.train_val_fraction=0.1")
    assert "each class needs 6 images or more, so that 3" in with_train_val
    cli.main(run, [str(four), "--dry-run"])


def test_a_class_with_fewer_images_named_train_than_folds(refused: Refused, tmp_path: Path) -> None:
    names = [
        f"{name}/{n}.jpg" for name in ("train/cat", "train/dog", "test/cat", "test/dog") for n in range(3)
    ]
    images = files(tmp_path / "images", *names)
    line = refused(str(images))
    assert "each class needs 4 images or more in train, so that 3 are left" in line
    assert "too few: cat 3, dog 3" in line
    # Now no val is cut out of train.
    files(images, "val/cat/1.jpg", "val/dog/1.jpg")
    cli.main(run, [str(images), "--dry-run"])


def test_a_pattern_that_matches_no_file_name_is_named_with_three_names(
    refused: Refused, tmp_path: Path
) -> None:
    root = files(tmp_path / "images", *(f"IMG-{n}.jpg" for n in range(5)))
    pattern = "++ingest.source.pattern='(cat|dog)'"
    source = f"ingest.source.path={root} ingest.source.kind=filename {pattern}"
    line = refused("--recipe", "images_from_scratch", "--set", source.replace("'", "\\'"))
    assert f"ingest.source.pattern: (cat|dog) matches no file name in {root}" in line
    assert line.rstrip('"').endswith("tried on IMG-0.jpg, IMG-1.jpg, IMG-2.jpg")


def test_a_source_that_is_not_there(refused: Refused) -> None:
    line = refused("--recipe", "animals")
    assert "datasets/animals does not exist" in line
    assert "make run DATA=/path/to/images" in line


def test_images_that_make_clean_would_remove(refused: Refused, tmp_path: Path, workspace: Path) -> None:
    advice = "which the pipeline writes and make clean removes; move it to another folder, such as datasets/"
    # `refused` checks that the pipeline has written no data/.
    images = two_classes(workspace / "models" / "images")
    assert f"{images} is in models/, {advice}" in refused(str(images))
    (tmp_path / "link").symlink_to(images)
    assert f"{tmp_path / 'link'} is in models/, {advice}" in refused(str(tmp_path / "link"))
    two_classes(tmp_path / "elsewhere")
    (workspace / "features").mkdir()
    (workspace / "features" / "link").symlink_to(tmp_path / "elsewhere")
    cli.main(run, ["features/link", "--dry-run"])


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda folder: os.mkfifo(folder / "pipe.jpg"), "a pipe, socket or device: 'cat/pipe.jpg'"),
        (lambda folder: (folder / "link.jpg").symlink_to("nowhere"), "a broken link"),
        (lambda folder: (folder / os.fsdecode(b"H\xfcndchen.jpg")).touch(), "a name that is not UTF-8"),
    ],
)
@pytest.mark.parametrize("named", ["DATA", "params"])
def test_what_dvc_cannot_read(
    refused: Refused, tmp_path: Path, prepare: Callable[[Path], None], reason: str, named: str
) -> None:
    root = two_classes(tmp_path / "images")
    prepare(root / "cat")
    recipe = ["--recipe", "images_from_scratch", "--set", f"ingest.source.path={root}"]
    assert reason in refused(*([str(root)] if named == "DATA" else recipe))


@contextmanager
def small_disk(place: Path, kilobytes: int) -> Iterator[Path]:
    """A file system of its own."""
    place.mkdir(exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_folder_for_temporary_files(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "tmp", 64) as place:
        monkeypatch.setattr("tempfile.tempdir", str(place))
        line = refused(str(two_classes(tmp_path / "images")))
    assert f"the run needs 0.20 GB of disk in {place}, which has 0.00 GB free" in line
    assert "set TMPDIR to another folder" in line


def test_a_disk_that_is_too_small(refused: Refused, tmp_path: Path, workspace: Path) -> None:
    root = two_classes(tmp_path / "images")
    with small_disk(tmp_path / "disk", 256) as place:
        for name in ("conf", "stages", "params.yaml"):
            (place / name).symlink_to(ROOT / name)
        os.chdir(place)
        line = refused(str(root))
        os.chdir(workspace)
    assert f"of disk in {place}, which has 0.00 GB free; free some, or use fewer or smaller images" in line


def test_an_output_that_cannot_be_written(refused: Refused, tmp_path: Path, workspace: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (workspace / "models").mkdir(mode=0o500)
    line = refused(str(two_classes(tmp_path / "images")))
    assert "models cannot be written; check its owner and permissions" in line


def test_a_path_with_a_template(refused: Refused, tmp_path: Path) -> None:
    root = two_classes(tmp_path / "${x}")
    assert "must not contain ${" in refused(str(root))


def test_data_and_recipe_together(refused: Refused, tmp_path: Path) -> None:
    assert "name DATA or RECIPE" in refused(str(tmp_path), "--recipe", "digits")


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("recipe=flowers17", "recipe"),
        ("dataset=mnist", "dataset"),
        ("ingest.source.path=/nope", "ingest.source.path"),
        ("++ingest.source.kind=arrays", "ingest.source.kind"),
    ],
)
def test_what_data_chooses_is_not_changed(refused: Refused, tmp_path: Path, change: str, key: str) -> None:
    """The plan was that of DATA, and the run another."""
    line = refused(str(two_classes(tmp_path / "images")), "--set", f"seed=3 {change}")
    assert f"SET changes {key}, which DATA chooses; leave {key} out of SET" in line


def test_what_else_the_source_has_is_counted_as_it_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], workspace: Path
) -> None:
    flat = files(tmp_path / "flat", *(f"{name}.{n}.jpg" for name in ("cat", "dog") for n in range(6)))
    archive = shutil.make_archive(str(tmp_path / "photos"), "zip", flat)
    cli.main(run, [archive, "--dry-run", "--set", r"++ingest.source.pattern=\'^([a-z]+)\'"])
    assert "12 files in 2 classes: cat 6, dog 6" in capsys.readouterr().out


def test_a_second_run_in_the_folder_is_refused_and_leaves_the_files_of_the_first(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with watching.reserved():
        watching.LOG.write_text("of the first", encoding="utf-8")
        with pytest.raises(SystemExit) as stop:
            cli.main(run, ["--set", "seed=1", "--dry-run"])
        assert watching.LOG.read_text(encoding="utf-8") == "of the first"
    assert stop.value.code == 75
    assert f"another make run is under way in {workspace}" in capsys.readouterr().err
    assert not (workspace / ".convoy" / "next_params.yaml").exists()
    # As its end lets the next one start.
    cli.main(run, ["--dry-run"])


def test_a_quote_without_its_end(refused: Refused) -> None:
    assert "SET: No closing quotation: recipe='digits" in refused("--set", "recipe='digits")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("resize.size=[64, 64]", "resize.size=[64,"),
        ("models.lenet.train.epochs:3", "models.lenet.train.epochs:3"),
        ("models.lenet.train.epochs = 3", "models.lenet.train.epochs"),
    ],
)
def test_a_word_that_is_not_key_and_value(refused: Refused, text: str, word: str) -> None:
    """Hydra's message was its parser's: LexerNoViableAltException."""
    advice = "no blanks around = or inside a value: resize.size=[64,64]"
    assert f"SET: '{word}' is not KEY=VALUE; {advice}" in refused("--set", text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("models.lenet.train.epoch=3", "no such key; did you mean models.lenet.train.epochs?"),
        ("models.lenet.train.epochs=-3", "models.lenet.train.epochs is -3; must be greater than 0"),
        ("predict.crops=tenn", "predict.crops is 'tenn'; must be 'center' or 'ten'"),
    ],
)
def test_a_wrong_param(refused: Refused, change: str, message: str) -> None:
    assert message in refused("--set", change)


def test_a_size_that_the_extractor_does_not_take(refused: Refused) -> None:
    line = refused("--set", "resize.size=[18,18]")
    assert "extractors.hog: hog needs resize.size to be multiples of cell = 4" in line
    assert "it is 18x18" in line


@pytest.mark.slow
def test_a_size_that_a_network_does_not_take(refused: Refused) -> None:
    line = refused("--set", "resize.size=[8,8] models.minivggnet.network=vgg16")
    assert "models.minivggnet: vgg16 cannot take images of 8x8" in line


@pytest.mark.slow
def test_weights_that_are_missing_or_of_another_network(
    refused: Refused, workspace: Path, tmp_path: Path
) -> None:
    images = str(two_classes(tmp_path / "images"))
    (workspace / "datasets").mkdir()
    weights = workspace / "datasets" / "mobilenet_v2_0.35_224_no_top.weights.h5"
    with h5py.File(weights, "w") as file:
        file.create_group("layers/dense/vars").create_dataset("0", data=[1.0])
    assert "extractors.mobilenet_v2: " in refused(images)
    missing = "extractors.mobilenet_v2.weights=datasets/other.h5"
    line = refused(images, "--set", missing)
    assert "extractors.mobilenet_v2: weights 'datasets/other.h5' are neither 'imagenet' nor a file" in line
