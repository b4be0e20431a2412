"""promote: the candidate against the champion, both as served, on the test split → the registry's alias."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages import cli, tracking
from stages.common import log
from stages.common.errors import ServingError
from stages.common.files import digest, read_json, replace_atomically, write_json
from stages.data import store
from stages.data.blobs import BlobReader
from stages.data.manifest import Row
from stages.ensemble import SUMMARY
from stages.models.protocols import LearnerParams
from stages.params import Predict
from stages.report.pages import flipped, rendering
from stages.report.pages.flipped import Flips
from stages.serving import bundle, candidates, logged
from stages.serving.answers import Answers, ask
from stages.serving.candidates import Candidate
from stages.serving.registry import BEFORE, Registry, Version
from stages.serving.verdict import Promote, Verdict, judge

# How far the served candidate's probabilities may be from those of the predict stage.
PARITY = 1e-4
# Each attempt judges against a champion that somebody else has just promoted.
_ATTEMPTS = 5


@dataclass(frozen=True)
class Comparison:
    """The candidate beside one champion, or beside none."""

    champion: Version | None
    before: Answers | None
    candidate: Answers
    verdict: Verdict


@cli.command(
    params="promote", members="models", predict="predict", recipe="recipe", source="ingest.source.path"
)
def promote(
    params: Promote,
    members: dict[str, LearnerParams],
    predict: Predict,
    recipe: str,
    *,
    manifest: Path,
    source: Path,
    blob: Path,
    drift: Path,
    models: Path,
    predictions: Path,
    ensemble: Path,
    verdict: Path,
    page: Path,
) -> None:
    """Register the candidate as a version of the model `recipe`; make it champion if every rule holds.

    Champion and candidate classify the test split's raw images, each with the code it was logged with. A
    first candidate needs no better test; a tie keeps the champion. Writes `verdict` (JSON) and `page` (HTML)
    and logs both. With `dry_run` nothing is registered or moved.
    Raises ServingError when the served candidate says something else than its predictions, or a champion
    cannot be asked any more; TrackingError when the registry cannot be used.
    """
    weights = read_json(ensemble / SUMMARY)["weights"]
    folders = (models, predictions, ensemble)
    candidate = candidates.choose(params.candidate, params.metric, members, weights, folders)
    rows = candidates.test_rows(manifest, candidate)
    found_drift: str = read_json(drift)["verdict"]
    tags = {"stage": "promote", "manifest": digest(manifest), "candidate": candidate.name}
    with tracking.run(recipe, "promote", tags) as run, tracking.connected():
        registry = Registry(recipe)
        uri, version = _logged(candidate, predict.crops, registry, run, dry=params.dry_run)

        def compare() -> Comparison:
            champion = registry.champion()
            before = ask(champion.uri, rows, source, blob) if champion else None
            actual = np.asarray([row.label for row in rows])
            return Comparison(champion, before, answers, judge(params, answers, before, actual, found_drift))

        facts: dict[str, Any] = {"model": recipe, "images": len(rows), "manifest": tags["manifest"]}
        facts["candidate"] = {"name": candidate.name, "uri": uri, "weights": candidate.weights}
        flips = flipped.NONE
        if version and (champion := registry.champion()) and champion.number == version.number:
            outcome = _unchanged(champion)
        else:
            answers = ask(uri, rows, source, blob)
            _check_parity(answers, candidate, uri)
            found, decision = _decide(registry, version, compare, dry=params.dry_run)
            if found.before:
                flips = flipped.between(rows, found.before, answers)
            outcome = told(found, decision)
            facts["candidate"] |= answers.figures()
        write_json(
            verdict, facts | outcome | {"flipped": {kind: [asdict(f) for f in flips[kind]] for kind in flips}}
        )
        write_page(page, facts | outcome, flips, rows, source, blob)
        run.params({"promote": params.model_dump()})
        for file in (verdict, page):
            run.file(file)
        if version:
            registry.tag(version, promotion=f"{outcome['decision']}: {outcome['reason']}")
    log.event(outcome["decision"], candidate=candidate.name, model=uri, reason=outcome["reason"])


def _logged(
    candidate: Candidate, crops: str, registry: Registry, run: tracking.Run, *, dry: bool
) -> tuple[str, Version | None]:
    """The model's URI and its version; one that was registered before is taken as it is."""
    with bundle.temporary(candidate.members, candidate.weights, crops) as folder:
        known = registry.find(mark := bundle.digest(folder))
        if known:
            return known.uri, known
        with run.active():
            uri = logged.log(folder)
    if dry:
        return uri, None
    version = registry.register(uri, str(run.link["run_id"]), mark)
    return version.uri, version


def _check_parity(answers: Answers, candidate: Candidate, uri: str) -> None:
    file = candidate.predictions / "test.h5"
    with store.Reader(file) as rows:
        apart = float(np.abs(answers.probabilities - rows.read(0, len(rows))).max())
    if apart > PARITY:
        raise ServingError(
            f"{uri} gives probabilities of raw images that are up to {apart:.2g} from {file}; "
            f"allowed: {PARITY:g}; what it serves is not what was evaluated"
        )


def _decide(
    registry: Registry, version: Version | None, compare: Callable[[], Comparison], *, dry: bool
) -> tuple[Comparison, str]:
    """Compare, and move the alias if all rules hold; compare anew when somebody else moved it meanwhile."""
    for _ in range(_ATTEMPTS):
        found = compare()
        if not found.verdict.holds:
            return found, "kept" if found.champion else "refused"
        if version is None or dry:
            return found, "would be promoted"
        if found.champion:
            registry.tag(version, **{BEFORE: found.champion.number})
        if registry.move(version, found.champion):
            return found, "promoted"
        log.warning("the champion changed while the candidate was judged; judging again")
    raise ServingError(
        f"the champion of {registry.name} changed {_ATTEMPTS} times while judging; run it again"
    )


def _unchanged(champion: Version) -> dict[str, Any]:
    reason = f"the candidate is the champion, {champion.uri}"
    empty: dict[str, Any] = {"rules": [], "compared": {}, "recall": {}}
    return {
        "decision": "unchanged",
        "passed": True,
        "reason": reason,
        "champion": {"uri": champion.uri},
    } | empty


def told(found: Comparison, decision: str) -> dict[str, Any]:
    """What the verdict's JSON says of the comparison; `passed`: every rule holds."""
    first = found.champion is None and found.verdict.holds
    champion: dict[str, Any] | None = {"uri": found.champion.uri} if found.champion else None
    if champion and found.before:
        champion |= found.before.figures()
    return {
        "decision": decision,
        "passed": found.verdict.holds,
        "reason": "there was no champion" if first else found.verdict.reason,
        "champion": champion,
        **found.verdict.as_dict(),
    }


def write_page(
    page: Path, verdict: dict[str, Any], flips: Flips, rows: list[Row], source: Path, blob: Path
) -> None:
    """Draw `verdict`, with the images that flipped; `rows` are the test split's."""
    with BlobReader(blob) as blobs:

        def read(row: Row) -> bytes:
            stored = row.offset >= 0
            return blobs.read(row.offset, row.bytes) if stored else (source / row.path).read_bytes()

        images = flipped.images(flips, rows, read)
    values = {"verdict": verdict, "flips": flips, "images": images, "shown": flipped.SHOWN}
    with replace_atomically(page) as aside:
        aside.write_text(rendering.render("promotion.html.j2", **values), encoding="utf-8")


if __name__ == "__main__":
    cli.main(promote)
