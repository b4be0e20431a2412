"""Sphinx builds this folder into a site: `make docs`. It downloads nothing."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import chapters  # noqa: E402
import generate  # noqa: E402
import image_formats  # noqa: E402

generate.write_params(ROOT / "docs" / "reference" / "params.md", ROOT / "params.yaml")
chapters.write_books(ROOT / "docs" / "reference" / "books.md", ROOT / "docs" / "books.yaml", ROOT)
generate.write_targets(ROOT / "Makefile", ROOT / "docs" / "reference" / "targets.md")
generate.write_tools(ROOT / "stages" / "tools", ROOT / "docs" / "reference" / "tools.md")
image_formats.write_image_formats(ROOT / "docs" / "reference" / "image_formats.md")
generate.write_settings(ROOT / "docs" / "reference" / "airflow_settings.md")

project = "Convoy"
author = "The Convoy developers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
# Included by environment.md, and no page of its own.
exclude_patterns = ["_build", "reference/airflow_settings.md"]
html_theme = "furo"
html_title = "Convoy"
myst_heading_anchors = 3
autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
# Links to files of the repository that are no pages of the site.
suppress_warnings = ["myst.xref_missing"]
