"""HTML pages that are complete in one file, for a browser without a network."""

from pathlib import Path
from typing import Any

from stages.report.figures import style


def render(template: str, **values: Any) -> str:
    """Render a template.

    Args:
        template: a file of stages/report/templates that extends base.html.j2.
        **values: the template's variables; all text is escaped.

    Returns:
        The HTML of the page.
    """
    # Imported here: most stages need no template.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    # Everything is escaped: file names and labels are untrusted input.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parents[1] / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    colours = Markup(style.css())  # noqa: S704  (our own, and no CSS once escaped)
    return environment.get_template(template).render(values, colours=colours)
