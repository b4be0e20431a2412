"""Pages of HTML with everything in them, for a browser without a network."""

from pathlib import Path
from typing import Any

from stages.report.figures import style


def render(template: str, **values: Any) -> str:
    """Fill `template`, a file beside this one that extends base.html.j2; all text in `values` is escaped."""
    # Here, as most stages can do without it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    # Escaping names every template: file names and labels are whatever somebody once typed.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parents[1] / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    colours = Markup(style.css())  # noqa: S704  (our own, and no CSS once escaped)
    return environment.get_template(template).render(values, colours=colours)
