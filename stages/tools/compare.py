"""compare: MLflow runs side by side, on the terminal and as a page."""

from pathlib import Path

from stages import cli, tracking
from stages.common import log
from stages.common.errors import UsageError
from stages.common.files import replace_atomically
from stages.report.figures import style
from stages.report.pages import compared, comparison, rendering

# The number of colours that everybody can tell apart.
_LAST = 5


def compare(
    runs: list[str] | None = None, *, recipe: str | None = None, page: Path = Path("reports/compare.html")
) -> None:
    """Show runs side by side: params that differ, metrics on the test split, curves, cost.

    Prints the comparison and writes it as a page.

    Args:
        runs: Ids or names of executions or trainings.
        recipe: Instead of runs: the last five executions of this recipe.
        page: The page to write.

    Raises:
        UsageError: When neither runs nor a recipe is named, or both are.
        TrackingError: When the server has no such run.
    """
    names = runs or []
    if bool(names) == bool(recipe):
        raise UsageError("name either runs or --recipe")
    with tracking.connected() as client:
        columns = compared.by_recipe(client, recipe, _LAST) if recipe else compared.by_names(client, names)
    sections = comparison.sections(columns)
    uris = {
        section.name: {key: style.figure_uri(figure) for key, figure in section.curves.items()}
        for section in sections
    }
    about = comparison.about(columns)
    html = rendering.render("compare.html.j2", runs=columns, about=about, sections=sections, uris=uris)
    with replace_atomically(page) as partial:
        partial.write_text(html, encoding="utf-8")
    print(comparison.text(columns, sections))
    log.event("compared_runs", page=page)


if __name__ == "__main__":
    cli.main(compare)
