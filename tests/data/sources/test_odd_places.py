"""Odd things in folders and archives, in ingest and resize: used, listed or refused, never a crash."""

import csv
import io
import os
import sys
import tarfile
import zipfile

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from stages.common.errors import SourceError
from stages.data.sources import MAX_BYTES, SourceParams, archive, filename
from stages.data.sources import csv as csv_source
from tests.project import Images, Project


def accepted(project: Project) -> set[str]:
    return set(pq.read_table(project.manifest)["path"].to_pylist())


def rejects(project: Project) -> dict[str, tuple[str, str]]:
    with project.rejects.open(newline="", encoding="utf-8") as file:
        return {item["path"]: (item["reason"], item["detail"]) for item in csv.DictReader(file)}


def run(project: Project, source: SourceParams | None = None) -> None:
    project.ingest(source, max_reject_fraction=1.0)
    project.resize()


def test_links_are_followed_to_files_and_listed_where_they_lead_nowhere(
    project: Project, images: Images
) -> None:
    source = images()
    image = source.parent / "elsewhere.png"
    Image.new("RGB", (5, 5), "red").save(image)
    (source / "cat" / "linked.png").symlink_to(image)
    (source / "cat" / "broken.png").symlink_to("nowhere.png")
    (source / "cat" / "loop.png").symlink_to("loop.png")
    run(project)
    assert "cat/linked.png" in accepted(project)
    assert rejects(project)["cat/broken.png"] == ("file", "No such file or directory")
    assert rejects(project)["cat/loop.png"] == ("file", "Too many levels of symbolic links")


@pytest.mark.parametrize(("link", "target"), [("cat/up", ".."), ("kitten", "cat")])
def test_a_link_to_a_folder_ends_the_stage_and_cannot_loop(
    project: Project, images: Images, link: str, target: str
) -> None:
    """It was one reject, so that a class of any size was missing."""
    source = images()
    (source / link).symlink_to(target)
    with pytest.raises(SourceError, match=f"{source / link} is a link to a folder, which is not followed"):
        run(project)


def test_pipes_are_not_waited_for(project: Project, images: Images) -> None:
    os.mkfifo(images() / "cat" / "pipe.png")
    run(project)
    assert rejects(project) == {"cat/pipe.png": ("file", "not a regular file")}


def test_a_film_among_the_images_is_not_read_into_memory(project: Project, images: Images) -> None:
    path = images() / "cat" / "film.mp4"
    path.touch()
    os.truncate(path, MAX_BYTES + 1)
    run(project)
    assert "larger than" in rejects(project)["cat/film.mp4"][1]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_listed(project: Project, images: Images) -> None:
    (images() / "cat" / "000.png").chmod(0)
    run(project)
    assert rejects(project) == {"cat/000.png": ("file", "Permission denied")}


@pytest.mark.skipif(sys.platform != "linux", reason="names are text on this system")
def test_names_that_are_not_utf8_are_listed(project: Project, images: Images) -> None:
    source = images()
    (source / "cat" / "000.png").rename(source / "cat" / os.fsdecode(b"\xff\xfe.png"))
    (source / "dog").rename(source / os.fsdecode(b"d\xf6g"))
    images({"bird": 5})
    run(project)
    assert len(accepted(project)) == 9 + 5
    listed = rejects(project)
    assert len(listed) == 11
    assert {detail for _, detail in listed.values()} == {"the name is not valid UTF-8"}
    assert r"cat/\udcff\udcfe.png" in listed


def test_names_may_have_line_breaks_quotes_and_commas(project: Project, images: Images) -> None:
    source = images()
    names = ["two\nlines.png", 'a "quote".png', "a, comma.png", " blanks .png", "-rf.png", "x" * 251 + ".png"]
    for number, name in enumerate(names):
        (source / "cat" / f"{number:03d}.png").rename(source / "cat" / name)
    (source / "cat" / "broken\n,file.png").touch()
    (source / "dog").rename(source / "hot\ndog")
    run(project)
    assert {f"cat/{name}" for name in names} <= accepted(project)
    assert rejects(project) == {"cat/broken\n,file.png": ("picture", "the file is empty")}


def test_a_folder_as_deep_as_the_system_allows(project: Project, images: Images) -> None:
    source = images()
    folder = source
    for _ in range(1200):
        folder /= "d"
        folder.mkdir()
    for number in range(5):
        (folder / f"{number}.png").write_bytes(png(number))
    try:
        run(project)
    finally:
        # pytest could not: shutil.rmtree calls itself for every level.
        for path in folder.iterdir():
            path.unlink()
        os.removedirs(folder)
    assert len(accepted(project)) == 25


def test_odd_images_go_all_the_way(project: Project, images: Images) -> None:
    source = images()
    noise = np.random.default_rng(0).integers(0, 256, (30, 30, 4)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise).save(source / "cat" / "alpha.png")
    Image.fromarray(noise, "CMYK").save(source / "cat" / "cmyk.jpg")
    Image.fromarray(noise[:, :, :3]).save(source / "cat" / "turned.jpg", exif=exif)
    Image.fromarray(noise[:, :, :3]).save(source / "cat" / "a png.jpg", "PNG")
    Image.fromarray(noise[:1, :1, :3]).save(source / "cat" / "one pixel.png")
    Image.new("RGB", (10_000, 1), "red").save(source / "cat" / "line.png")
    Image.new("L", (1001, 1000)).save(source / "cat" / "large.png")
    (source / "cat" / "text.jpg").write_text("text")
    (source / "cat" / "half.jpg").write_bytes((source / "cat" / "cmyk.jpg").read_bytes()[:1000])
    run(project)
    assert len(accepted(project)) == 26
    assert {path: kind for path, (kind, _) in rejects(project).items()} == {
        "cat/half.jpg": "damaged",
        "cat/large.png": "picture",
        "cat/text.jpg": "picture",
    }


def png(number: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (2, 2), (number % 256, number // 256, 0)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "count"), [("tar", 20_000), ("zip", 66_000)])
def test_an_archive_of_many_entries(project: Project, kind: str, count: int) -> None:
    """From 65,536 entries on, a zip file has another end (zip64)."""
    path = project.root / f"many.{kind}"
    entries = ((f"{'cat' if n % 2 else 'dog'}/{n}.png", png(n) if n < 20 else b"") for n in range(count))
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as out:
            for name, data in entries:
                out.writestr(zipfile.ZipInfo(name), data)
    else:
        with tarfile.open(path, "w") as out:
            for name, data in entries:
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                out.addfile(entry, io.BytesIO(data))
    run(project, archive.Params(kind="archive", path=path))
    assert len(accepted(project)) == 20
    assert len(rejects(project)) == count - 20


def test_hostile_names_in_an_archive_write_nothing_outside(project: Project) -> None:
    path = project.root / "deep" / "set.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as out:
        for number in range(10):
            for name in (f"../../cat/{number}.png", f"/tmp/dog/{number}.png"):
                data = png(number + 100 * ("dog" in name))
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                out.addfile(entry, io.BytesIO(data))
    before = {item for item in project.root.rglob("*") if item.is_file()}
    run(project, archive.Params(kind="archive", path=path))
    assert len(accepted(project)) == 20
    written = {item for item in project.root.rglob("*") if item.is_file()} - before
    assert {item.parent for item in written} == {project.manifest.parent}


@pytest.mark.parametrize(
    ("name", "shown", "detail"),
    [
        ("cat/" + "1" * 5_000 + ".png", "cat/1111", "the name has more than 4096 bytes"),
        ("cat/1." + "x" * 65_525, "cat/1.xx", "the name has more than 4096 bytes"),
        ("cat/1#.png", r"cat/1\x00.png", "the name has a NUL character"),
        ("c#t/1.png", r"c\x00t/1.png", "the name has a NUL character"),
    ],
)
def test_names_that_no_file_can_have_are_listed(
    project: Project, images: Images, name: str, shown: str, detail: str
) -> None:
    """Each of them ended a stage with status 70."""
    source, path = images(), project.root / "set.zip"
    with zipfile.ZipFile(path, "w") as out:
        for image in sorted(source.rglob("*.png")):
            out.write(image, image.relative_to(source))
        out.writestr(name, png(0))
    # zipfile writes no NUL.
    path.write_bytes(path.read_bytes().replace(name.encode(), name.replace("#", "\0").encode()))
    run(project, archive.Params(kind="archive", path=path))
    assert len(accepted(project)) == 20
    ((listed, reason),) = rejects(project).items()
    assert listed.startswith(shown)
    assert reason == ("name", detail)


def test_a_nul_in_a_table_is_listed(project: Project, images: Images) -> None:
    source = images({"x": 20})
    lines = [f"x/{number:03d}.png,{'ab'[number % 2]}" for number in range(20)]
    (source / "labels.csv").write_text("\n".join(["path,label", *lines, "x/0\0.png,a"]))
    run(project, csv_source.Params(kind="csv", path=source, table="labels.csv"))
    assert len(accepted(project)) == 20
    assert rejects(project) == {r"x/0\x00.png": ("name", "the name has a NUL character")}


def test_a_flat_folder_with_odd_names_is_told_by_a_pattern(project: Project, images: Images) -> None:
    source = images({"all": 10})
    for number, path in enumerate(sorted((source / "all").iterdir())):
        path.rename(source / f"{'große Katze' if number % 2 else '犬'}.{number}.png")
    (source / "all").rmdir()
    run(project, filename.Params(kind="filename", path=source, pattern=r"^(.+)\.\d+\.png$"))
    assert len(accepted(project)) == 10
