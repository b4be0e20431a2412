"""A challenger beside the champion of now: which images are new to both, and what the rules say of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.common.errors import ServingError
from stages.data import image_set, store
from stages.data.image_set import ImageSet
from stages.data.manifest import Row
from stages.scoring import gate
from stages.scoring.promotion import Promote, Rule, Verdict, level_of
from stages.scoring.served import Served
from stages.serving import isolated, ledger
from stages.serving.challengers import Challenger
from stages.serving.registry import Registry, Version

# How far the served challenger's probabilities may be from those of the predict stage.
PARITY = 1e-4


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

    def facts(self, outcome: str, level: float) -> dict[str, Any]:
        """What the verdict's JSON says.

        `decision` is the outcome, `decisions` the number of decisions on these images with this one, `level`
        the level of this one, and `passed` says whether every rule holds.

        Args:
            outcome: promoted, would be promoted, kept or refused.
            level: `promote.level`.
        """
        first = self.champion is None and self.verdict.holds
        champion: dict[str, Any] | None = {"uri": self.champion.uri} if self.champion else None
        if champion and self.before:
            champion |= self.before.figures()
        return {
            "decision": outcome,
            "passed": self.verdict.holds,
            "reason": "every rule holds, and there was no champion" if first else self.verdict.reason,
            "images": len(self.rows),
            "decisions": self.decision,
            "level": level_of(level, max(self.decision, 1)),
            "champion": champion,
            **self.verdict.as_dict(),
        }


@dataclass(frozen=True)
class Promotion:
    """What every comparison of one promotion shares.

    `seen` is what the challenger has seen, `rows` the images of the test split, `drift` the verdict of
    `audit`, `source` and `blob` hold the images, and `run_id` is the run that decisions are counted under.
    """

    params: Promote
    registry: Registry
    challenger: Challenger
    seen: ImageSet
    rows: list[Row]
    drift: str
    source: Path
    blob: Path
    run_id: str


def compare(promotion: Promotion, uri: str, champion: Version | None) -> Comparison:
    """Judge the challenger against the champion, on the images that are new to both.

    A dry run counts no decision.

    Args:
        promotion: What its comparisons share.
        uri: The challenger's URI in MLflow.
        champion: The champion of now; None where there is none.

    Raises:
        ServingError: The served challenger differs from its predictions; the champion cannot be used, or does
            not say which images it has seen; the lease of the registry cannot be had.
        InterruptedServingError: The process of a model was killed, or MLflow does not answer.
    """
    rows = _new_to_both(promotion, champion)
    images = set_of(rows)
    if len(rows) < promotion.params.min_images:
        rule = Rule(
            "images new to both models" if champion else "images new to the model",
            False,
            f"{len(rows)} of the test split's {len(promotion.rows)}",
            f"{promotion.params.min_images} at least (promote.min_images)",
        )
        decision = ledger.decisions(promotion.registry, images)
        return Comparison(champion, rows, decision, None, None, Verdict([rule], {}, {}))
    if promotion.params.dry_run:
        decision = ledger.decisions(promotion.registry, images) + 1
    else:
        decision = ledger.take(promotion.registry, images, promotion.run_id)
    uris = [uri, champion.uri] if champion else [uri]
    after, *others = isolated.serve(uris, rows, promotion.source, promotion.blob)
    _check_parity(after, promotion.challenger, uri)
    before = others[0] if others else None
    verdict = gate.judge(promotion.params, after, before, promotion.drift, decision)
    return Comparison(champion, rows, decision, before, after, verdict)


def set_of(rows: list[Row]) -> ImageSet:
    """The images of these rows."""
    return image_set.of_ids(row.id for row in rows)


def _new_to_both(promotion: Promotion, champion: Version | None) -> list[Row]:
    """The test images that neither model has seen."""
    seen = promotion.seen
    if champion:
        of_champion = promotion.registry.seen(champion)
        if of_champion is None:
            raise ServingError(
                f"{champion.uri} does not say which images it has seen: an older version logged it; delete "
                f"the alias champion of {promotion.registry.name} in MLflow and run promote again"
            )
        seen = np.union1d(seen, of_champion)
    new = ~np.isin([int(row.id, 16) for row in promotion.rows], seen)
    return [row for row, is_new in zip(promotion.rows, new, strict=True) if is_new]


def _check_parity(served: Served, challenger: Challenger, uri: str) -> None:
    file = challenger.predictions / "test.h5"
    with store.Reader(file) as rows:
        row_of = {identity: number for number, identity in enumerate(rows.ids.tolist())}
        predicted = rows.read(0, len(rows))[
            [row_of[identity] for identity in served.predictions.ids.tolist()]
        ]
    difference = float(np.abs(served.predictions.probabilities - predicted).max())
    # Not `>`: a probability that is no number would pass.
    if not difference <= PARITY:
        raise ServingError(
            f"{uri} gives probabilities of raw images that differ by up to {difference:.2g} from {file}; "
            f"allowed: {PARITY:g}; what it serves is not what was evaluated"
        )
