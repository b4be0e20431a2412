"""promote: challenger against champion, both as served, on images new to both → the registry's alias."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from stages import cli, tracking
from stages.common import git, log
from stages.common.errors import InterruptedServingError, StoreError
from stages.common.files import digest, read_json, replace_atomically, write_json
from stages.data.blobs import ImageReader
from stages.data.image_set import ImageSet
from stages.data.manifest import Row
from stages.models.protocols import LearnerParams
from stages.params import Predict
from stages.report.pages import commands, execution, flipped, rendering
from stages.report.pages.flipped import Flips
from stages.scoring import weighting
from stages.scoring.promotion import Promote
from stages.serving import bundle, challengers, comparisons, ledger, logged
from stages.serving.challengers import Challenger
from stages.serving.comparisons import Comparison, Promotion
from stages.serving.registry import BEFORE, DIGEST, Registry, Version

# Each attempt judges against a champion that another promotion has just made.
_ATTEMPTS = 5
# The tag of a version that says what became of it.
_PROMOTION = "promotion"


@dataclass(frozen=True)
class _Report:
    """Where a verdict is written: two files, the run, and the description of the challenger's version."""

    facts: dict[str, Any]
    note: str
    files: tuple[Path, Path]
    run: tracking.Run
    images: tuple[list[Row], Path, Path]

    def write(self, facts: dict[str, Any], flips: Flips) -> dict[str, Any]:
        """Write a verdict with the images that flipped; return all that the JSON says of the verdict."""
        verdict, page = self.files
        challenger = self.facts["challenger"] | facts.get("challenger", {})
        together: dict[str, Any] = self.facts | facts | {"challenger": challenger}
        lists = {kind: [asdict(flip) for flip in flips[kind]] for kind in flips}
        write_json(verdict, together | {"flipped": lists})
        write_page(page, together, flips, *self.images)
        for file in self.files:
            self.run.file(file)
        return together


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
            not say which images it has seen.
        InterruptedServingError: The lease of the registry cannot be had, or other promotions came first.
        StoreError: The metrics or predictions are of other images than the test split.
        TrackingError: The registry cannot be used.
    """
    weights = read_json(ensemble / weighting.FILE)["weights"]
    folders = (models, predictions, ensemble)
    challenger = challengers.choose(params.challenger, params.metric, members, weights, folders)
    rows = challengers.test_rows(manifest, challenger)
    scores = _scores(metrics, challenger, len(rows))
    seen = challengers.seen(manifest, challenger)
    tags = {"stage": "promote", "manifest": digest(manifest), "challenger": challenger.name}
    with tracking.run(recipe, "promote", tags) as run, tracking.connected():
        run.params({"promote": params.model_dump()})
        registry = Registry(recipe)
        uri, version = _logged(
            challenger, predict.crops, seen, registry, run, scores, tags, dry=params.dry_run
        )
        drift_verdict = str(read_json(drift)["verdict"])
        if (run_id := run.link["run_id"]) is None:
            raise tracking.Unreachable("the tracking server has not made this run yet; run it again")
        promotion = Promotion(params, registry, challenger, seen, rows, drift_verdict, source, blob, run_id)
        facts = {"model": recipe, "test_images": len(rows), "manifest": tags["manifest"]}
        facts["challenger"] = {"name": challenger.name, "uri": uri, "weights": challenger.weights}
        overrides = commands.overrides(recipe, Path("params.yaml"), Path("conf"))
        note = execution.note(recipe, {challenger.name: scores}, overrides)
        report = _Report(facts, note, (verdict, page), run, (rows, source, blob))
        outcome = _decide(promotion, uri, version, report)
        decision, reason = outcome["decision"], outcome["reason"]
        # A process that was killed after it had moved the alias leaves the tag to the next.
        if version and not params.dry_run and (decision != "unchanged" or _PROMOTION not in version.tags):
            registry.tag(version, **{_PROMOTION: f"{decision}: {reason}"})
    log.event("judged_challenger", decision=decision, challenger=challenger.name, model=uri, reason=reason)


def _scores(metrics: Path, challenger: Challenger, images: int) -> dict[str, float]:
    """What `evaluate` says of the challenger on this many images."""
    scores: dict[str, float] | None = read_json(metrics).get(challenger.name)
    if scores is None or scores["n"] != images:
        raise StoreError(
            f"{metrics} has no scores of {challenger.name} on {images} images; run evaluate again"
        )
    return scores


def _logged(
    challenger: Challenger,
    crops: str,
    seen: ImageSet,
    registry: Registry,
    run: tracking.Run,
    scores: Mapping[str, float],
    tags: Mapping[str, str],
    *,
    dry: bool,
) -> tuple[str, Version | None]:
    """The model's URI and its version; a version that was registered before is used again."""
    with bundle.temporary(challenger.members, challenger.weights, crops, seen) as folder:
        registered = registry.find(mark := bundle.digest(folder))
        if registered:
            return registered.uri, registered
        uri = run.log_model(partial(logged.save, folder))
    if dry:
        return uri, None
    shown = {key: tags[key] for key in ("manifest", "challenger")}
    if commit := git.commit():
        shown["git.commit"] = commit
    figures = execution.figures({"test": scores})
    version = registry.register(uri, str(run.link["run_id"]), mark, figures, shown)
    return version.uri, version


def _decide(promotion: Promotion, uri: str, version: Version | None, report: _Report) -> dict[str, Any]:
    """Compare, and move the alias if all rules hold; compare again when another process has moved it.

    The report is written before the alias moves: a process that is killed in between has promoted nothing,
    and judges again. The other way round it would leave a champion without a report.
    """
    registry, dry = promotion.registry, promotion.params.dry_run
    for _ in range(_ATTEMPTS):
        champion = registry.champion()
        # By content: another promotion may have registered the same model at the same time.
        if version and champion and champion.tags.get(DIGEST) == version.tags[DIGEST]:
            decisions = ledger.decisions(registry, comparisons.set_of(promotion.rows))
            return report.write(_unchanged(champion, decisions, len(promotion.rows)), flipped.NONE)
        comparison = comparisons.compare(promotion, uri, champion)
        outcome = _outcome(comparison, dry=dry)
        facts = comparison.facts(outcome, promotion.params.level)
        if comparison.after:
            facts["challenger"] = comparison.after.figures()
        facts = report.write(facts, _flips(comparison))
        if version is None or dry:
            return facts
        registry.describe(version, f"{report.note}\n\nVerdict: {facts['reason']}")
        if outcome != "promoted":
            return facts
        if champion:
            registry.tag(version, **{BEFORE: champion.number})
        if registry.move(version, champion):
            return facts
        log.warning("repeated_judgement", reason="the champion changed meanwhile")
    raise InterruptedServingError(
        f"the champion of {registry.name} changed {_ATTEMPTS} times while judging; run promote again"
    )


def _outcome(comparison: Comparison, *, dry: bool) -> str:
    if not comparison.verdict.holds:
        return "kept" if comparison.champion else "refused"
    return "would be promoted" if dry else "promoted"


def _flips(comparison: Comparison) -> Flips:
    if comparison.before is None or comparison.after is None:
        return flipped.NONE
    return flipped.between(comparison.rows, comparison.before, comparison.after)


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
