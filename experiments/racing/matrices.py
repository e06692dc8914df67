"""The prompts of one task and few-shot draw with their per-example scores, for races to replay."""

from __future__ import annotations

from collections.abc import Callable

from autoprompt.objective import evaluate, tempered_log_likelihoods
from autoprompt.seeding import generator
from experiments.racing.entrants import FEW_SHOT, LARGER, Entrant, Field
from experiments.selection.candidates import Measured, Pool, measure_all
from experiments.selection.collect import Material, RecordedScorer


def fields(material: Material, scorer: RecordedScorer) -> list[Field]:
    """The fields of every draw of a task, in both settings.

    `larger`: prompts fitted on the draw's train are compared on its dev and on examples of the dev
    file, shuffled. `few-shot`: they are compared on the draw's train, cross-fitted, and dev, as in
    a search with `--k-shot`.

    Args:
        material: the task's.
        scorer: knows the word scores of its templates on its examples.
    """
    found = []
    for draw in material.draws:
        pool = measure_all(material, draw, scorer)
        found.append(_field(material, draw, LARGER, pool, _larger(material, draw, scorer)))
        found.append(_field(material, draw, FEW_SHOT, pool, _few_shot(material, draw)))
    return found


def _field(
    material: Material,
    draw: int,
    setting: str,
    pool: Pool,
    entrant: Callable[[Measured], Entrant],
) -> Field:
    seeds, others = tuple(map(entrant, pool.seeds)), tuple(map(entrant, pool.others))
    return Field(material.name, draw, setting, seeds, others)


def _larger(material: Material, draw: int, scorer: RecordedScorer) -> Callable[[Measured], Entrant]:
    examples = [*material.draws[draw].dev, *material.truth]
    rng = generator(draw, "selection order", material.name)
    shuffled = [examples[row] for row in rng.permutation(len(examples))]

    def entrant(measured: Measured) -> Entrant:
        prompt = measured.outcome.prompt
        scored = evaluate(prompt, scorer, shuffled)
        value = float(tempered_log_likelihoods(scored).mean())
        return Entrant(scored, value, prompt.template.text)

    return entrant


def _few_shot(material: Material, draw: int) -> Callable[[Measured], Entrant]:
    train = len(material.draws[draw].train)
    written = material.table.verbalizers

    def entrant(measured: Measured) -> Entrant:
        outcome = measured.outcome
        assert outcome.scored is not None
        assert outcome.value is not None
        prompt = outcome.prompt
        fitted = prompt.verbalizer not in written or prompt.calibration.method == "batch"
        return Entrant(outcome.scored, outcome.value, prompt.template.text, train if fitted else 0)

    return entrant
