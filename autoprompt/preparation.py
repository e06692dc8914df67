"""From what a user gives to what a search works with: the same for its creator and its workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autoprompt.errors import InputError
from autoprompt.models.infilling import SentinelInfiller, own_infiller
from autoprompt.models.protocol import LanguageModel
from autoprompt.objective import raw_label_scores
from autoprompt.runs import learnt_splits
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.searching.budget import Budget
from autoprompt.searching.candidates import CandidateTable
from autoprompt.searching.readable import readable
from autoprompt.searching.recipes import Recipe
from autoprompt.searching.selection_data import SelectionData
from autoprompt.searching.stages import Stages
from autoprompt.searching.trials import TrialRunner
from autoprompt.searching.trigger_slots import blank_frame
from autoprompt.searching.words import Words, words_to_score
from autoprompt.spaces import SearchSpace
from autoprompt.tasks.examples import split_digest
from autoprompt.tasks.task import Task
from autoprompt.verbalizers import Verbalizer

LEARNT = "the model was tuned on these train examples, so prompts are selected on dev alone"
LEARNT_DEV = (
    "the model was tuned on these dev examples too, so their values say little; give other ones"
)


@dataclass(frozen=True)
class Given:
    """What a search is given.

    Attributes:
        task, space, model: what is searched, where, for which model.
        budget: its limits.
        seed: of everything that is drawn.
        recipe: the way to search.
        generator: a T5 that writes templates, or None.
        robustness: one of `ROBUSTNESS`.
        selection_examples: the most examples to compare prompts on; None for all.
    """

    task: Task
    space: SearchSpace
    model: LanguageModel
    budget: Budget
    seed: int
    recipe: Recipe
    generator: SentinelInfiller | None
    robustness: str
    selection_examples: int | None


@dataclass(frozen=True)
class Prepared:
    """What a search works with.

    Attributes:
        runner: scores candidates.
        stages: says what each trial is.
        words: what is scored in every frame.
        notes: on templates that the model cannot read.
        settings: everything that a result depends on.
    """

    runner: TrialRunner
    stages: Stages
    words: Words
    notes: Sequence[str]
    settings: dict[str, Any]


def prepare(given: Given) -> Prepared:
    """Wire a search's parts together, and check that they fit.

    Raises:
        InputError: space and task do not fit, the model cannot read the seeds, or the budget is
            too small.
    """
    task, model, generator = given.task, given.model, given.generator
    restricted = given.space.restricted(task.fields, task.labels)
    usable, notes = readable(restricted, model)
    table = CandidateTable(given.recipe.narrowed(usable))
    if generator is None and table.space.generated:
        generator = own_infiller(model)
    learnt = learnt_splits(model.identity.name)
    cross_fits = split_digest(task.train) not in learnt
    data = SelectionData.of(task, given.seed, given.selection_examples, cross_fits)
    if not cross_fits:
        notes.append(LEARNT)
    if split_digest(task.dev) in learnt:
        notes.append(LEARNT_DEV)
    words = words_to_score(table, model.screening, data.fit)
    runner = _runner(task, data, table, words, model, given.seed)
    stages = Stages(runner, given.recipe, generator, given.budget)
    _check_seeds(runner)
    given.budget.check(table.seeds, runner.costs.most_for_seeds(), words.spent.budgeted)
    settings = {
        **_settings(runner),
        "recipe": given.recipe.shown_name(generator),
        "generator": generator.name if generator else "",
        "robustness": given.robustness,
    }
    return Prepared(runner, stages, words, notes, settings)


def _runner(
    task: Task,
    data: SelectionData,
    table: CandidateTable,
    words: Words,
    model: LanguageModel,
    seed: int,
) -> TrialRunner:
    """What scores candidates: a fast copy of the model, where it has one; the model decides."""
    runner: TrialRunner | None = None
    for scoring in dict.fromkeys((model, model.screening)):
        scorer = WordScorer(
            scoring,
            [*words.seeds, *words.candidates],
            one_token=words.candidates,
            relative=not words.candidates,  # to fit words is to compare examples
            blocks=data.blocks,
        )
        runner = TrialRunner(task, data, table, scorer, seed, words.by_label, exact=runner)
    assert runner is not None
    return runner


def _settings(runner: TrialRunner) -> dict[str, Any]:
    """Everything that a result depends on: a run is not resumed with other settings."""
    identity = runner.scorer.model.identity
    return {
        "task": runner.task.fingerprint(),
        "space": runner.table.space.fingerprint(),
        "model": identity.weights,
        "tokenizer": identity.tokenizer,
        "screening": runner.scorer.model.precision,
        "metric": runner.task.metric,
        "seed": runner.seed,
        "selection": split_digest(runner.data.examples),
    }


def _check_seeds(runner: TrialRunner) -> None:
    """Refuse seed prompts that the model cannot score, before anything is written.

    Raises:
        InputError: a seed's template is too long for the model, or its words cannot be written.
        ScoringError: the model's scores are not finite.
    """
    space = runner.table.space
    scorer = runner.exact.scorer
    probe = scorer.like()
    for number, seed in enumerate(space.seeds, start=1):
        verbalizer = Verbalizer.of(seed.words, space.labels)
        try:
            frame = blank_frame(scorer.model.encoder, seed.template)
            raw_label_scores(probe, frame, verbalizer, runner.task.train[:1])
        except InputError as error:
            raise type(error)(f"seed prompt {number}: {error}") from error
