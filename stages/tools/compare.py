"""Compare MLflow runs, on the terminal and as a page: `python -m stages.tools.compare`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from stages import tracking
from stages.common import log
from stages.common.errors import ConvoyError
from stages.common.files import replacing
from stages.report.figures import style
from stages.report.pages import comparison, rendering
from stages.tracking import reading

# As many as there are colours that everybody can tell apart.
_LAST = 5


def main(argv: list[str] | None = None) -> None:
    """Print and write the comparison; exits with 1 after one line when there is nothing to compare."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.tools.compare",
        description="Runs side by side: params that differ, metrics on the test split, curves, cost.",
    )
    parser.add_argument("runs", nargs="*", metavar="RUN", help="id or name of an execution or a training")
    parser.add_argument("--recipe", help=f"the last {_LAST} executions of this recipe")
    parser.add_argument(
        "--page", type=Path, default=Path("reports/compare.html"), help="default: %(default)s"
    )
    given = parser.parse_args(argv)
    if bool(given.runs) == bool(given.recipe):
        parser.error("give either runs or --recipe")
    log.configure("compare")
    try:
        print(compare(given.runs, given.recipe, given.page))
    except ConvoyError as error:
        log.error(str(error))
        sys.exit(1)
    log.event("compared", page=given.page)


def compare(words: Sequence[str], recipe: str | None, page: Path) -> str:
    """Write `page` and return the same as text. Raises TrackingError when a run is not there."""
    with tracking.connected() as client:
        runs = reading.by_recipe(client, recipe, _LAST) if recipe else reading.by_words(client, list(words))
    made = comparison.sections(runs)
    uris = {one.name: {key: style.figure_uri(figure) for key, figure in one.curves.items()} for one in made}
    about = comparison.about(runs)
    html = rendering.render("compare.html.j2", runs=runs, about=about, sections=made, uris=uris)
    with replacing(page) as aside:
        aside.write_text(html, encoding="utf-8")
    return comparison.text(runs, made)


if __name__ == "__main__":
    main()
