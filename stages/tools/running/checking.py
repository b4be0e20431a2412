"""Checks, before an image is decoded, of what would stop a run later."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from itertools import count, islice
from pathlib import Path

from stages.common.errors import ParamsError, SourceError
from stages.data import layout, sources, splitting
from stages.data.layout import Count
from stages.data.manifest import Split
from stages.data.sources._naming import SPLIT_NAMES
from stages.data.sources._walk import check_for_dvc
from stages.data.sources.archive import Params as ArchiveParams
from stages.data.sources.filename import Params as FilenameParams
from stages.data.sources.folder import Params as FolderParams
from stages.models.learners import cnn, logistic_regression
from stages.params import Params

# Each class needs an image in train, val and test.
MIN_PER_CLASS = 3
# Below this many, three-fold cross-validation on the train split is unreliable.
FEW_PER_CLASS = 10
# What a run writes besides images, features and models: pages, figures, MLflow's database, in bytes.
_FIXED = 50_000_000
# A registered model is put together there: networks of up to 100 MB.
_TEMPORARY = 200_000_000
# Kinds whose files are listed without reading files; an archive is read from beginning to end for its names.
_LISTED = ("csv", "filename", "folder", "tiny_imagenet")
# Folders that the stages write.
_OUTPUTS = ("data", "features", "models", "predictions", "ensemble", "reports", "plots")
_GIGABYTE = 1e9


def check_source(source: sources.SourceParams) -> None:
    """Refuse a source that is missing, that `make clean` would remove, or that DVC cannot read.

    Raises:
        SourceError: The path is missing or in a folder of outputs, or it holds a pipe, a broken link or a
            name that is no UTF-8.
    """
    # A broken link is named as one, below.
    if not os.path.lexists(source.path):
        raise SourceError(
            f"ingest.source.path: {source.path} does not exist; put the images there, or name others: "
            "make run DATA=/path/to/images"
        )
    check_outside_outputs(source.path)
    if "${" in str(source.path):
        raise SourceError(f"{source.path}: a path must not contain ${{, which DVC and Hydra replace")
    check_for_dvc(source.path)


def check_images(params: Params) -> int:
    """Refuse a source that cannot be read or split, or has too few files of a class.

    Args:
        params: The run's params.

    Returns:
        The number of images; 0 for sources whose files cannot be listed without reading them.

    Raises:
        SourceError: As of `check_source`, `check_classes` and `check_folds`.
    """
    source = params.ingest.source
    check_source(source)
    if source.kind not in _LISTED:
        return 0
    files = layout.count(source)
    check_classes(source, files, train_val=params.ingest.train_val_fraction > 0)
    check_folds(params, files)
    return sum(files.by_class.values())


def check_files(params: Params) -> None:
    """Refuse a file besides the images that is missing: what data drift or a training starts from.

    Raises:
        ParamsError: There is no such file, or it is another one than the params state.
    """
    profile = params.audit.drift.reference
    if not profile.is_file():
        raise ParamsError(
            f"audit.drift.reference: {profile} does not exist; make accept-data writes datasets/accepted.json"
        )
    for name, model in params.models.items():
        if isinstance(model, cnn.Params) and model.start_from:
            try:
                model.start_from.check()
            except ParamsError as error:
                raise ParamsError(f"models.{name}.{error}") from None


def check_outside_outputs(source: Path) -> None:
    """Refuse images in a folder of outputs.

    Raises:
        SourceError: `make clean` would remove them.
    """
    for output in _OUTPUTS:
        # Where a link leads: `make clean` removes the link alone. Path.resolve raises RuntimeError at a loop.
        if Path(os.path.realpath(source)).is_relative_to(Path(output).absolute()):
            raise SourceError(
                f"ingest.source.path: {source} is in {output}/, which the pipeline writes and make clean "
                "removes; move it to another folder, such as datasets/"
            )


def check_classes(source: sources.SourceParams, files: Count, *, train_val: bool = False) -> None:
    """Refuse what cannot be split, and splits that would be taken for classes.

    Args:
        source: The images' source.
        files: Its files by class.
        train_val: Whether there is a split train-val besides train, val and test.

    Raises:
        SourceError: No file name matches, there are fewer than two classes, a class has too few images, or a
            folder is named as a split and holds images.
    """
    if not files.by_class and isinstance(source, FilenameParams):
        names = ", ".join(islice(_names(source), 3)) or "no files"
        raise SourceError(
            f"ingest.source.pattern: {source.pattern} matches no file name in {source.path}; tried on {names}"
        )
    if len(files.by_class) < 2:
        names = ", ".join(files.by_class) or "none"
        more = (
            f"; {files.unlabelled:,} files cannot be used, the first is {files.first}" if files.first else ""
        )
        raise SourceError(f"{source.path}: a classifier needs at least two classes; here: {names}{more}")
    splits = [name for name in files.by_class if name.casefold() in SPLIT_NAMES]
    if splits and isinstance(source, FolderParams | ArchiveParams):
        raise SourceError(
            f"{source.path}: its folder {splits[0]!r} is named as a split and holds no folder per class; "
            "sort its images into such folders, or rename it if it is a class"
        )
    least = MIN_PER_CLASS + train_val
    small = {name: number for name, number in files.by_class.items() if number < least}
    if small:
        raise SourceError(
            f"{source.path}: each class needs {least} images or more, one for each split; "
            f"too few: {_numbers(small)}"
        )


def check_folds(params: Params, files: Count) -> None:
    """Refuse classes with fewer images to train on than a member has folds, near duplicates aside.

    Args:
        params: The run's params.
        files: The source's files by class.

    Raises:
        SourceError: A class has too few images.
    """
    folds = {
        name: model.folds
        for name, model in params.models.items()
        if isinstance(model, logistic_regression.Params)
    }
    if not folds:
        return
    ingest, by_class, named = params.ingest, files.by_class, set[Split]()
    if ingest.split == "from_path":
        by_class, named = files.by_class_in_train, set(files.by_split)
    fractions = ingest.val_fraction, ingest.test_fraction, ingest.train_val_fraction
    shares = splitting.shares_to_cut(*fractions, named)
    member, most = max(folds.items(), key=lambda item: item[1])
    training = {number: splitting.images_left(number, shares) for number in set(by_class.values())}
    if small := {name: number for name, number in by_class.items() if training[number] < most}:
        more = count(max(small.values()) + 1)
        least = next(number for number in more if splitting.images_left(number, shares) >= most)
        where = " in train" if named else ""
        raise SourceError(
            f"{ingest.source.path}: each class needs {least} images or more{where}, so that {most} are left "
            f"to train on (models.{member}.folds); too few: {_numbers(small)}"
        )


def check_places(needed: int) -> None:
    """Refuse to start where the run could not write.

    Args:
        needed: Bytes that the run writes into the current folder.

    Raises:
        ParamsError: The folder, an output or TMPDIR cannot be written, or is too full.
    """
    for place in (Path(), *map(Path, _OUTPUTS), Path(".dvc"), Path(".dvc/cache")):
        if place.exists() and not os.access(place, os.W_OK):
            raise ParamsError(f"{place.absolute()} cannot be written; check its owner and permissions")
    _check_free(Path.cwd(), needed, "free some, or use fewer or smaller images (resize.size)")
    try:
        temporary = Path(tempfile.gettempdir())
    except FileNotFoundError:
        raise ParamsError(
            "no folder for temporary files can be written; set TMPDIR to one that can"
        ) from None
    _check_free(temporary, _TEMPORARY, "free some, or set TMPDIR to another folder")


def _check_free(place: Path, needed: int, advice: str) -> None:
    free = shutil.disk_usage(place).free
    if free < needed:
        required, available = (f"{number / _GIGABYTE:.2f} GB" for number in (needed, free))
        raise ParamsError(
            f"the run needs {required} of disk in {place}, which has {available} free; {advice}"
        )


def disk_bytes(images: int, params: Params) -> int:
    """Estimate the bytes that a run writes.

    Resized and packed images stay in the workspace and in DVC's cache, the resized ones also in the store of
    image results.
    """
    height, width, channels = params.resize.shape
    return images * height * width * channels * 5 + _FIXED


def _numbers(small: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in islice(small.items(), 5))


def _names(source: FilenameParams) -> Iterator[str]:
    return (image.name for image in sources.images(source) if image.problem is None)
