"""Each image is read and decoded once, whatever happens to its file and its labels; results stay the same."""

import hashlib
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from stages.common import fingerprint
from stages.data import decoding, profile, results_store, sources
from stages.data.decoding import Facts
from stages.data.decoding.types import Color
from stages.data.image_results import examine, looks, resize, resized_images
from stages.data.manifest import Manifest
from stages.data.sizing import View
from stages.params import Resize
from tests.data.decoding.samples import photograph
from tests.project import Images, Project

SIZE: dict[str, Any] = {"size": [16, 16], "keep_aspect": True, "color": "rgb", "quality": "exact"}
# Of `odd_files`, those without colours.
GRAY = ("jpeg gray", "png gray", "png 16 bits")
EVENTS = ("ingested_images", "audited_data", "resized_images")


@pytest.fixture
def run(project: Project, caplog: pytest.LogCaptureFixture) -> Callable[..., list[int]]:
    """A function that runs ingest, audit and resize; it returns how many images each of them decoded."""

    def data_stages(ahead: bool = True, resize: dict[str, Any] | None = None, **params: Any) -> list[int]:
        caplog.clear()
        with caplog.at_level("INFO"):
            project.ingest(ahead=Resize(**SIZE | (resize or {})) if ahead else None, **params)
            project.audit()
            project.resize(**(resize or {}))
        fields = {record.getMessage(): vars(record)["fields"] for record in caplog.records}
        return [fields[event]["decoded"] for event in EVENTS]

    return data_stages


def outputs(project: Project) -> dict[str, str]:
    """The digest of every file that the stages wrote."""
    folders = (project.root / "data", project.root / "reports")
    paths = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(project.root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths
    }


def old(source: Path) -> None:
    """Make every file look as if it had not been written just now."""
    for path in source.rglob("*.png"):
        os.utime(path, (1_000_000, 1_000_000))


def test_one_decode_serves_ingest_and_audit_and_resize(images: Images, run: Any) -> None:
    images({"cat": 30, "dog": 30})
    assert run() == [60, 0, 0]
    assert run() == [0, 0, 0]


def test_one_decode_serves_all_of_gray_files_in_a_gray_recipe(project: Project, run: Any) -> None:
    for number in range(20):
        path = project.source / str(number % 2) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph(number, 20, 20)).convert("L").save(path)
    assert run(resize={"color": "gray"}) == [20, 0, 0]


def test_a_new_image_costs_one_decode_and_the_result_is_that_of_a_run_from_scratch(
    images: Images, project: Project, run: Any, image_results: Path
) -> None:
    source = images({"cat": 60, "dog": 60})
    run()
    images({"cat": 61}, root=source)
    assert run() == [1, 0, 0]
    reused = outputs(project)
    shutil.rmtree(image_results)
    run(ahead=False)
    assert outputs(project) == reused


def test_a_store_that_holds_too_few_pixels_costs_no_decode_of_what_is_known(
    images: Images, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Facts and digests, a hundred bytes an image, were used before pixels and so were removed first."""
    monkeypatch.setattr(results_store, "_FILE_BYTES", 20 * 16 * 16 * 3)
    source = images({"cat": 60, "dog": 60})
    run()
    held = results_store.held()
    monkeypatch.setenv(results_store.LIMIT_VARIABLE, str(2 * held["facts"][1] + held["resized"][1] // 2))
    images({"cat": 61}, root=source)
    run()
    ingest, _, resize = run()
    assert ingest == 0
    assert resize > 0


@pytest.mark.parametrize("change", ["delete", "rename", "move", "relabel"])
def test_a_change_of_names_and_labels_costs_no_decode(images: Images, run: Any, change: str) -> None:
    source = images({"cat": 30, "dog": 30})
    run()
    first = source / "cat" / "000.png"
    if change == "delete":
        first.unlink()
    elif change == "rename":
        first.rename(source / "cat" / "other.png")
    elif change == "move":
        source.rename(source.with_name("elsewhere"))
        source.with_name("elsewhere").rename(source)
    else:
        first.rename(source / "dog" / "other.png")
    # Another image may now be among those that the page shows.
    assert run() == [0, 0, 0]


def test_unchanged_files_are_not_read_unless_verify_insists(
    images: Images, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = images({"cat": 10, "dog": 10})
    monkeypatch.setattr("stages.data.image_results._SECONDS_UNTIL_SETTLED", -1.0)
    run()
    read: list[str] = []
    original = sources.Image.read

    def counted(image: sources.Image) -> bytes:
        read.append(image.name)
        return original(image)

    monkeypatch.setattr(sources.Image, "read", counted)
    run()
    assert read == []
    changed = source / "cat" / "003.png"
    shutil.copyfile(source / "cat" / "004.png", changed)
    run()
    assert read == ["cat/003.png"]
    read.clear()
    run(verify="always")
    assert len(read) == 20


def test_a_mount_that_numbers_its_inodes_anew_gives_no_file_the_digest_of_another(
    run: Any, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As s3fs and FAT do, in the order of look-ups; images had the SHA-256 and label of neighbours."""
    inodes: dict[Path, int] = {}
    real = Path.stat

    def stat(path: Path, **options: Any) -> os.stat_result:
        values = list(real(path, **options))
        if path.suffix == ".bmp":
            # Whole seconds, and the same, as after a copy or an upload of the whole.
            values[1], values[7:10] = inodes.setdefault(path, len(inodes)), [1_000_000] * 3
        return os.stat_result(values)

    def write(name: str, seed: int) -> None:
        (project.source / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph(seed, 20, 20)).save(project.source / name)

    for number in range(10):
        write(f"cat/{number + 1}.bmp", number)
        write(f"dog/{number + 1}.bmp", 100 + number)
    monkeypatch.setattr(Path, "stat", stat)
    run()
    inodes.clear()
    write("cat/0.bmp", 200)
    run()
    rows = [row for shard in Manifest.read(project.manifest).shards() for row in shard]
    assert len(rows) == 21
    assert [row.sha256 for row in rows] == [
        hashlib.sha256((project.source / row.path).read_bytes()).hexdigest() for row in rows
    ]


def test_a_file_that_has_just_changed_is_read_again(images: Images, run: Any, project: Project) -> None:
    """Twice within one tick of the clock, with the same size and times: nothing tells the two apart."""
    source = images({"cat": 10, "dog": 10})
    run()
    path = source / "cat" / "003.png"
    facts = path.stat()
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    run(max_reject_fraction=1.0)
    assert "003.png" in project.rejects.read_text(encoding="utf-8")


def test_other_params_decode_and_are_stored_beside(images: Images, run: Any) -> None:
    images({"cat": 10, "dog": 10})
    run()
    assert run(ahead=False, resize={"size": [8, 8]})[2] == 20
    assert run(ahead=False, resize={"size": [8, 8], "keep_aspect": False})[2] == 20
    assert run() == [0, 0, 0]


@pytest.mark.parametrize(
    ("module", "decoded"),
    [
        # audit decodes the images that it shows, as ingest stored no thumbnails.
        ("decoding/__init__.py", [20, 6, 20]),
        ("image_results.py", [20, 6, 20]),
        ("sizing.py", [0, 0, 20]),
        ("statistics.py", [0, 0, 20]),
    ],
)
def test_other_code_computes_again(
    images: Images,
    run: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    decoded: list[int],
) -> None:
    """Of statistics.py too: once a corrected sum had no effect on images that had been resized before."""
    images({"cat": 10, "dog": 10})
    run()
    copy = tmp_path / "code"
    shutil.copytree(fingerprint.ROOT / "stages", copy / "stages")
    with (copy / "stages" / "data" / module).open("a") as file:
        file.write("\n# Edited.\n")
    monkeypatch.setattr(fingerprint, "ROOT", copy)
    assert run(ahead=False) == decoded


def test_a_smaller_limit_of_pixels_refuses_a_stored_image(images: Images, run: Any) -> None:
    images({"cat": 10, "dog": 10})
    run()
    with pytest.raises(Exception, match="pixels"):
        run(max_pixels=100)


def test_hashes_are_left_out_where_no_near_duplicates_are_wanted(
    images: Images, run: Any, project: Project
) -> None:
    images({"cat": 10, "dog": 10})
    run()
    run(near_duplicates={"distance": None})
    without = project.manifest.read_bytes()
    shutil.rmtree(results_store.folder())
    run(near_duplicates={"distance": None})
    assert project.manifest.read_bytes() == without


def saved(kind: str, image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def odd_files() -> dict[str, bytes]:
    image = Image.fromarray(photograph(1))
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    transparent = image.copy()
    transparent.putalpha(image.convert("L"))
    return {
        "jpeg": saved("JPEG", image),
        "jpeg 4:4:4": saved("JPEG", image, subsampling=0),
        "jpeg progressive": saved("JPEG", image, progressive=True),
        "jpeg gray": saved("JPEG", image.convert("L")),
        "jpeg cmyk": saved("JPEG", image.convert("CMYK")),
        "jpeg turned": saved("JPEG", image, exif=turned),
        "png": saved("PNG", image),
        "png gray": saved("PNG", image.convert("L")),
        "png palette": saved("PNG", image.convert("P")),
        "png transparent": saved("PNG", transparent),
        "png 16 bits": saved("PNG", Image.fromarray(np.arange(60_000, dtype=np.uint16).reshape(200, 300))),
        "gif": saved("GIF", image),
        "bmp": saved("BMP", image),
        "tiff": saved("TIFF", image),
        "webp": saved("WEBP", image),
    }


@pytest.mark.parametrize("name", odd_files())
def test_what_one_decode_gives_is_what_the_stages_decode(name: str) -> None:
    data = odd_files()[name]
    facts, image = decoding.examine(data, 10**6, hashed=True)
    pixels = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(pixels, decoding.decode(data, "rgb", plain=facts.plain))


@pytest.mark.parametrize("name", odd_files())
@pytest.mark.parametrize("color", ["rgb", "gray"])
def test_what_is_resized_in_that_decode_is_what_resize_makes(name: str, color: Color) -> None:
    data, view = odd_files()[name], View(20, 30, color, True, "exact")
    facts, _, resized = examine(data, ahead=view, damaged=False)
    assert (resized is None) == (color == "gray" and name not in GRAY)
    if resized is not None:
        alone = resize(data, facts.height, facts.width, view=view, plain=facts.plain)
        for actual, expected in zip(resized, alone, strict=True):
            np.testing.assert_array_equal(actual, expected)


def test_facts_and_figures_come_back_as_they_were() -> None:
    png = saved("PNG", Image.fromarray(photograph(1, 30, 25)[:, :20]))
    sha256 = hashlib.sha256(png).hexdigest()
    view = View(8, 8, "rgb", True, "exact")
    with looks(view) as stored:
        examined = examine(png, ahead=view, damaged=False)
        facts, look = examined.facts, examined.look
        stored.add(sha256, examined)
    with looks() as stored, resized_images(view) as resized:
        assert stored.facts(sha256) == facts == Facts(20, 30, 3, True, facts.phash)
        figures = stored.figures(sha256)
        assert figures is not None
        for name in profile.FIGURES:
            assert getattr(figures, name) == getattr(look, name)
        np.testing.assert_array_equal(stored.thumbnail(sha256), look.small)
        image = resized.get(sha256)
        assert image is not None
        np.testing.assert_array_equal(image.pixels, view.apply(png, 30, 20, plain=True))
        assert image.sums.tolist() == image.pixels.sum(axis=(0, 1)).tolist()
