"""Every prompt that the simulated searches may meet, scored by the product's own trial runner."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import cast

from optuna.trial import FixedTrial

from autoprompt.errors import VerbalizerError
from autoprompt.objective import Scored, evaluate, tempered_log_likelihoods
from autoprompt.searching.candidates import Candidate, CandidateTable, Chooser
from autoprompt.searching.selection_data import SelectionData
from autoprompt.searching.trials import Outcome, TrialRunner
from experiments.selection.collect import Material, RecordedScorer

WORDS_PER_LABEL = (1, 2, 3)
METHODS = ("none", "contextual", "batch")  # of calibration


@dataclass(frozen=True)
class Measured:
    """A scored prompt.

    Attributes:
        outcome: as a search keeps it: scores on train (cross-fitted) and dev.
        dev: metric and mean tempered log-likelihood on dev alone.
        truth: accuracy on examples that nothing was fitted or selected on.
    """

    outcome: Outcome
    dev: tuple[float, float]
    truth: float


@dataclass(frozen=True)
class Pool:
    """The prompts of one task and one few-shot draw: the seed prompts, and all others."""

    seeds: tuple[Measured, ...]
    others: tuple[Measured, ...]


def measure_all(material: Material, seed: int, scorer: RecordedScorer) -> Pool:
    """Score every template with every choice of words and every calibration.

    Prompts that do the same (equal digests) are kept once, as in a search.

    Args:
        material: the task's.
        seed: of the few-shot draw.
        scorer: knows the word scores of all templates on all examples.
    """
    task = material.draws[seed]
    data = SelectionData.of(task, seed)
    usable = {
        label: tuple(word for word in words if word in scorer.column)
        for label, words in material.table.space.label_candidates().items()
    }
    runner = TrialRunner(task, data, material.table, scorer, seed, usable)
    # Two seed prompts are never the same, as a space's author would not write one twice.
    seeds = [measure(runner, seed_prompt, material) for seed_prompt in experts(material.table)]
    known = {found.outcome.prompt.digest for found in seeds}
    others = []
    for candidate in candidates(material):
        try:
            found = measure(runner, candidate, material)
        except VerbalizerError:
            continue  # a trial that fails, in a search
        if found.outcome.prompt.digest not in known:
            known.add(found.outcome.prompt.digest)
            others.append(found)
    return Pool(tuple(seeds), tuple(others))


def experts(table: CandidateTable) -> list[Candidate]:
    """The seed prompts, as the expert wrote them."""
    trials = [FixedTrial(table.seed_parameters(index)) for index in range(table.seeds)]
    return [table.suggest(cast("Chooser", trial)) for trial in trials]


def candidates(material: Material) -> list[Candidate]:
    """Templates x (the seeds' words and fitted ones) x calibrations."""
    known = [(index, 1) for index in range(len(material.table.verbalizers))]
    fitted = [(None, per_label) for per_label in WORDS_PER_LABEL]
    return [
        Candidate(template, words, per_label, calibration=calibration)
        for template, (words, per_label), calibration in itertools.product(
            material.templates, [*known, *fitted], METHODS
        )
    ]


def measure(runner: TrialRunner, candidate: Candidate, material: Material) -> Measured:
    """Freeze a candidate's prompt and score it on the selection data, on dev and on the truth."""
    prompt = runner.fitter.prompt_of(candidate)
    examples = len(runner.data.examples)
    scored = runner.selection_scores(candidate, prompt, examples)
    metric, value = metric_and_likelihood(scored)
    outcome = Outcome(prompt, value, metric, examples, {}, scored)
    dev = metric_and_likelihood(scored.last(len(runner.data.dev)))
    truth = evaluate(prompt, runner.scorer, material.truth).metric("accuracy")
    return Measured(outcome, dev, truth)


def metric_and_likelihood(scored: Scored) -> tuple[float, float]:
    """Accuracy, and the mean tempered log-likelihood that breaks its ties."""
    return scored.metric("accuracy"), float(tempered_log_likelihoods(scored).mean())
