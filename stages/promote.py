"""promote: challenger against champion, both as served, on images new to both → the registry's alias."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from stages import cli, tracking
from stages.common import log
from stages.common.errors import ServingError, StoreError
from stages.common.files import digest, read_json, replace_atomically, write_json
from stages.data import image_set, store
from stages.data.blobs import ImageReader
from stages.data.image_set import ImageSet
from stages.data.manifest import Row
from stages.models.protocols import LearnerParams
from stages.params import Predict
from stages.report.pages import flipped, rendering
from stages.report.pages.flipped import Flips
from stages.scoring import gate, weighting
from stages.scoring.promotion import Promote, Rule, Verdict, level_of
from stages.scoring.served import Served
from stages.serving import bundle, challengers, isolated, ledger, logged
from stages.serving.challengers import Challenger
from stages.serving.registry import BEFORE, Registry, Version

# How far the served challenger's probabilities may be from those of the predict stage.
PARITY = 1e-4
# Each attempt judges against a champion that another promotion has just made.
_ATTEMPTS = 5


@dataclass(frozen=True)
class Comparison:
    """The challenger beside one champion, or beside none, on the images that are new to both.

    `decision` is the number of this decision on these images, from 1. `before` and `after` are what champion
    and challenger say; None where there is no champion, or too few images to ask either.
    """

    champion: Version | None
    rows: list[Row]
    decision: int
    before: Served | None
    after: Served | None
    verdict: Verdict


@dataclass(frozen=True)
class _Trial:
    """What every comparison of one promotion shares."""

    params: Promote
    registry: Registry
    challenger: Challenger
    seen: ImageSet
    rows: list[Row]
    drift: str
    source: Path
    blob: Path
    run_id: str


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
    metrics: Path,
    models: Path,
    predictions: Path,
    ensemble: Path,
    verdict: Path,
    page: Path,
) -> None:
    """Register the challenger as a version of the model `recipe`, and make it champion if every rule holds.

    Champion and challenger classify the raw images of the test split that neither has seen, each with the
    code it was logged with. With `promote.dry_run` nothing is registered, moved or counted.

    Args:
        params: The rules.
        members: Member → its params; only the names are used.
        predict: What a member trained on patches sees of an image.
        recipe: The name of the registered model.
        manifest: The manifest: the test split, and what the challenger has seen.
        source: The folder of the images.
        blob: The zip file of images that are no files of the source.
        drift: The verdict of `audit`, as JSON.
        metrics: metrics.json: only an evaluated challenger is judged.
        models: The folder with one folder per member.
        predictions: The folder with the members' predictions.
        ensemble: The folder with the ensemble's predictions and weights.
        verdict: The JSON file to write.
        page: The HTML file to write.

    Raises:
        ServingError: The served challenger differs from its predictions; a champion cannot be used, or does
            not say which images it has seen; the lease of the registry cannot be had.
        StoreError: The metrics or predictions are of other images than the test split.
        TrackingError: The registry cannot be used.
    """
    weights = read_json(ensemble / weighting.FILE)["weights"]
    folders = (models, predictions, ensemble)
    challenger = challengers.choose(params.challenger, params.metric, members, weights, folders)
    rows = challengers.test_rows(manifest, challenger)
    _check_evaluated(metrics, challenger, len(rows))
    seen = challengers.seen(manifest, challenger)
    tags = {"stage": "promote", "manifest": digest(manifest), "challenger": challenger.name}
    with tracking.run(recipe, "promote", tags) as run, tracking.connected():
        registry = Registry(recipe)
        uri, version = _logged(challenger, predict.crops, seen, registry, run, dry=params.dry_run)
        run_id, drift_verdict = str(run.link["run_id"]), str(read_json(drift)["verdict"])
        trial = _Trial(params, registry, challenger, seen, rows, drift_verdict, source, blob, run_id)
        facts: dict[str, Any] = {"model": recipe, "test_images": len(rows), "manifest": tags["manifest"]}
        facts["challenger"] = {"name": challenger.name, "uri": uri, "weights": challenger.weights}
        flips = flipped.NONE
        if version and (champion := registry.champion()) and champion.number == version.number:
            facts |= _unchanged(champion, ledger.decisions(registry, _set_of(rows)), len(rows))
        else:
            comparison, outcome = _decide(
                registry, version, lambda: _compare(trial, uri, version), dry=params.dry_run
            )
            if comparison.before and comparison.after:
                flips = flipped.between(comparison.rows, comparison.before, comparison.after)
            facts |= describe(comparison, outcome, params.level)
            facts["challenger"] |= comparison.after.figures() if comparison.after else {}
        write_json(verdict, facts | {"flipped": {kind: [asdict(f) for f in flips[kind]] for kind in flips}})
        write_page(page, facts, flips, rows, source, blob)
        run.params({"promote": params.model_dump()})
        for file in (verdict, page):
            run.file(file)
        if version:
            registry.tag(version, promotion=f"{facts['decision']}: {facts['reason']}")
    log.event(
        "judged_challenger",
        decision=facts["decision"],
        challenger=challenger.name,
        model=uri,
        reason=facts["reason"],
    )


def _check_evaluated(metrics: Path, challenger: Challenger, images: int) -> None:
    scores = read_json(metrics).get(challenger.name)
    if scores is None or scores["n"] != images:
        raise StoreError(
            f"{metrics} has no scores of {challenger.name} on {images} images; run evaluate again"
        )


def _logged(
    challenger: Challenger, crops: str, seen: ImageSet, registry: Registry, run: tracking.Run, *, dry: bool
) -> tuple[str, Version | None]:
    """The model's URI and its version; a version that was registered before is used again."""
    with bundle.temporary(challenger.members, challenger.weights, crops, seen) as folder:
        registered = registry.find(mark := bundle.digest(folder))
        if registered:
            return registered.uri, registered
        uri = run.log_model(partial(logged.save, folder))
    if dry:
        return uri, None
    version = registry.register(uri, str(run.link["run_id"]), mark)
    return version.uri, version


def _compare(trial: _Trial, uri: str, version: Version | None) -> Comparison:
    """Judge the challenger against the champion of now, on the images that are new to both."""
    champion = trial.registry.champion()
    rows = _new_to_both(trial, champion)
    images = _set_of(rows)
    if len(rows) < trial.params.min_images:
        rule = Rule(
            "images new to both models" if champion else "images new to the model",
            False,
            f"{len(rows)} of the test split's {len(trial.rows)}",
            f"{trial.params.min_images} at least (promote.min_images)",
        )
        decision = ledger.decisions(trial.registry, images)
        return Comparison(champion, rows, decision, None, None, Verdict([rule], {}, {}))
    if version is None:
        decision = ledger.decisions(trial.registry, images) + 1
    else:
        decision = ledger.take(trial.registry, images, trial.run_id)
    uris = [uri, champion.uri] if champion else [uri]
    after, *others = isolated.serve(uris, rows, trial.source, trial.blob)
    _check_parity(after, trial.challenger, uri)
    before = others[0] if others else None
    verdict = gate.judge(trial.params, after, before, trial.drift, decision)
    return Comparison(champion, rows, decision, before, after, verdict)


def _new_to_both(trial: _Trial, champion: Version | None) -> list[Row]:
    """The test images that neither model has seen; the challenger has seen none of them by construction."""
    seen = trial.seen
    if champion:
        of_champion = trial.registry.seen(champion)
        if of_champion is None:
            raise ServingError(
                f"{champion.uri} does not say which images it has seen: an older version logged it; delete "
                f"the alias champion of {trial.registry.name} in MLflow and run promote again"
            )
        seen = np.union1d(seen, of_champion)
    new = ~np.isin([int(row.id, 16) for row in trial.rows], seen)
    return [row for row, is_new in zip(trial.rows, new, strict=True) if is_new]


def _set_of(rows: list[Row]) -> ImageSet:
    return image_set.of_ids(row.id for row in rows)


def _check_parity(served: Served, challenger: Challenger, uri: str) -> None:
    file = challenger.predictions / "test.h5"
    with store.Reader(file) as rows:
        row_of = {identity: number for number, identity in enumerate(rows.ids.tolist())}
        predicted = rows.read(0, len(rows))[
            [row_of[identity] for identity in served.predictions.ids.tolist()]
        ]
    difference = float(np.abs(served.predictions.probabilities - predicted).max())
    if difference > PARITY:
        raise ServingError(
            f"{uri} gives probabilities of raw images that differ by up to {difference:.2g} from {file}; "
            f"allowed: {PARITY:g}; what it serves is not what was evaluated"
        )


def _decide(
    registry: Registry, version: Version | None, compare: Callable[[], Comparison], *, dry: bool
) -> tuple[Comparison, str]:
    """Compare, and move the alias if all rules hold; compare again when another process has moved it."""
    for _ in range(_ATTEMPTS):
        comparison = compare()
        if not comparison.verdict.holds:
            return comparison, "kept" if comparison.champion else "refused"
        if version is None or dry:
            return comparison, "would be promoted"
        if comparison.champion:
            registry.tag(version, **{BEFORE: comparison.champion.number})
        if registry.move(version, comparison.champion):
            return comparison, "promoted"
        log.warning("repeated_judgement", reason="the champion changed meanwhile")
    raise ServingError(
        f"the champion of {registry.name} changed {_ATTEMPTS} times while judging; run promote again"
    )


def _unchanged(champion: Version, decisions: int, images: int) -> dict[str, Any]:
    return {
        "decision": "unchanged",
        "passed": True,
        "reason": f"the challenger is the champion, {champion.uri}",
        "images": images,
        "decisions": decisions,
        "champion": {"uri": champion.uri},
        "rules": [],
        "compared": {},
        "recall": {},
    }


def describe(comparison: Comparison, outcome: str, level: float) -> dict[str, Any]:
    """What the verdict's JSON says of a comparison.

    `decision` is the outcome, `decisions` the number of decisions on these images with this one, `level` the
    level of this one, and `passed` says whether every rule holds.
    """
    first = comparison.champion is None and comparison.verdict.holds
    champion: dict[str, Any] | None = {"uri": comparison.champion.uri} if comparison.champion else None
    if champion and comparison.before:
        champion |= comparison.before.figures()
    return {
        "decision": outcome,
        "passed": comparison.verdict.holds,
        "reason": "every rule holds, and there was no champion" if first else comparison.verdict.reason,
        "images": len(comparison.rows),
        "decisions": comparison.decision,
        "level": level_of(level, max(comparison.decision, 1)),
        "champion": champion,
        **comparison.verdict.as_dict(),
    }


def write_page(
    page: Path, verdict: dict[str, Any], flips: Flips, rows: list[Row], source: Path, blob: Path
) -> None:
    """Draw a verdict, with the images that flipped; `rows` are the test split's."""
    with ImageReader(source, blob) as reader:
        images = flipped.images(flips, rows, reader.read)
    values = {"verdict": verdict, "flips": flips, "images": images, "shown": flipped.SHOWN}
    with replace_atomically(page) as aside:
        aside.write_text(rendering.render("promotion.html.j2", **values), encoding="utf-8")


if __name__ == "__main__":
    cli.main(promote)
