"""What `make run DATA=` says before it starts."""

import textwrap
from collections.abc import Mapping

from stages.data.layout import Count, Layout
from stages.data.manifest import Split
from stages.params import Ingest, Params
from stages.tools.running.checking import FEW_PER_CLASS
from stages.tools.running.choosing import Choice
from stages.tools.running.estimating import Estimate

_WIDTH = 80
_CLASSES_NAMED = 6


def describe(
    recognized: Layout, files: Count, choice: Choice, params: Params, estimate: Estimate, size: int
) -> list[str]:
    """Say what was recognized and what the run will do, in a few lines of up to 80 columns."""
    images = sum(files.by_class.values())
    height, width = params.resize.size
    facts = {
        "layout": recognized.description,
        "images": f"{images:,} files in {len(files.by_class)} classes: {_classes(files.by_class)}",
        "splits": _splits(recognized, files.by_split, params.ingest),
        "recipe": f"{choice.recipe}: {choice.description}",
        "size": f"images of {height} x {width} pixels; {size / 1e9:.1f} GB of disk",
        "time": str(estimate),
    }
    if files.unlabelled:
        facts["left out"] = (
            f"{files.unlabelled:,} files, listed in data/rejects.csv; the first is {files.first}"
        )
    if few := [name for name, number in files.by_class.items() if number < FEW_PER_CLASS]:
        names = ", ".join(few[:5]) + (", …" if len(few) > 5 else "")
        facts["warning"] = (
            f"fewer than {FEW_PER_CLASS} images in {len(few)} classes ({names}): "
            "their figures will be unreliable"
        )
    return [str(recognized.path), *(line for name, text in facts.items() for line in _wrapped(name, text))]


def describe_recipe(params: Params) -> str:
    """Say in one line what a recipe trains on what."""
    height, width = params.resize.size
    return f"Recipe {params.recipe}: {', '.join(params.models)} on images of {height} x {width} pixels"


def _wrapped(name: str, text: str) -> list[str]:
    first, *others = text.splitlines()
    indent = " " * 12
    lines = textwrap.wrap(first, _WIDTH, initial_indent=f"  {name:<10}", subsequent_indent=indent)
    for other in others:
        lines += textwrap.wrap(other, _WIDTH, initial_indent=indent, subsequent_indent=indent)
    return lines


def _classes(by_class: Mapping[str, int]) -> str:
    largest = sorted(by_class.items(), key=lambda item: -item[1])
    names = ", ".join(f"{name} {number:,}" for name, number in largest[:_CLASSES_NAMED])
    if len(largest) <= _CLASSES_NAMED:
        return names
    smallest, number = largest[-1]
    return f"{names} … {smallest} {number:,}"


def _splits(recognized: Layout, by_split: Mapping[Split, int], params: Ingest) -> str:
    shares = (params.val_fraction, params.test_fraction, params.train_val_fraction)
    val, test, train_val = (f"{100 * share:g} %" for share in shares)
    held_out = f"; {train_val} of train as train-val" if params.train_val_fraction else ""
    if recognized.split == "content":
        return f"{val} of each class for validation, {test} for the test, by content{held_out}"
    named = ", ".join(f"{name} {number:,}" for name, number in by_split.items())
    missing = [name for name in ("val", "test") if name not in by_split]
    cut = f"; {' and '.join(missing)} cut out of train" if missing else ""
    return f"as the source names them: {named}{cut}{held_out}"
