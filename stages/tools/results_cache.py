"""Show or empty the store of image results: `python -m stages.tools.results_cache [--empty]`.

Nothing is lost by emptying it: the next run computes again what it needs.
"""

from stages import cli
from stages.common import log
from stages.data import results_store


def results_cache(*, empty: bool = False) -> None:
    """Show what the store of image results holds.

    Args:
        empty: Remove all of it.
    """
    if empty:
        results_store.evict(0)
    for kind, (files, size) in sorted(results_store.held().items()):
        log.event("counted_results", kind=kind, files=files, megabytes=f"{size / 1e6:.1f}")
    total = sum(size for _, size in results_store.held().values())
    log.event(
        "measured_store",
        folder=results_store.folder(),
        megabytes=f"{total / 1e6:.1f}",
        limit=f"{results_store.limit() / 1e6:.0f}",
    )


if __name__ == "__main__":
    cli.main(results_cache)
