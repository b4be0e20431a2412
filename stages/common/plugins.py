"""Folders whose files are choices: `kind: folder` means the file `folder.py`.

Adding a file adds a source, an extractor, a learner or a network; no list names it a second time. Files whose
names start with an underscore are helpers, not choices.
"""

import pkgutil
from functools import reduce
from importlib import import_module
from importlib.util import find_spec
from operator import or_
from types import ModuleType
from typing import Annotated, Any

from pydantic import Field


def names(package: str) -> list[str]:
    """Return the names of a package's choices, sorted; neither they nor the package are imported."""
    spec = find_spec(package)
    modules = pkgutil.iter_modules(spec.submodule_search_locations if spec else None)
    return sorted(module.name for module in modules if not module.name.startswith("_"))


def module(package: str, name: str) -> ModuleType:
    """Import one choice.

    Raises:
        ModuleNotFoundError: When `names` does not list the name.
    """
    return import_module(f"{package}.{name}")


def union(package: str) -> Any:
    """Return a pydantic type: the union of every choice's `Params` class, selected by the key `kind`.

    Imports every choice, so each of them keeps heavy imports (Keras) inside its functions.
    """
    choices = [module(package, name).Params for name in names(package)]
    return choices[0] if len(choices) == 1 else Annotated[reduce(or_, choices), Field(discriminator="kind")]
