"""What scores candidates of a tiny search, as the pipeline wires it."""

from __future__ import annotations

from collections.abc import Callable

from autoprompt.models.protocol import LanguageModel
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.searching.candidates import Candidate, CandidateTable
from autoprompt.searching.racing import Race
from autoprompt.searching.selection_data import SelectionData
from autoprompt.searching.trials import Outcome, TrialRunner
from autoprompt.searching.words import words_to_score
from autoprompt.spaces import SearchSpace
from autoprompt.tasks.examples import Example
from autoprompt.tasks.task import Task


def task(train: int = 8, dev: int = 12) -> Task:
    """A task of texts that no two are alike, with eight test examples."""
    words = ["film", "book", "plot", "acting", "was", "is", "very", "team"]
    labels = ("neg", "pos")
    rows = [
        Example({"text": f"{words[n % 8]} {words[(n * 3 + n // 8) % 8]} {n}"}, labels[n % 2])
        for n in range(train + dev + 8)
    ]
    return Task(
        name="tiny",
        fields=("text",),
        labels=labels,
        metric="accuracy",
        train=tuple(rows[:train]),
        dev=tuple(rows[train : train + dev]),
        test=tuple(rows[train + dev :]),
    )


def runner_of(
    model: LanguageModel,
    space: str,
    own: Task | None = None,
    narrowed: Callable[[SearchSpace], SearchSpace] = lambda space: space,
) -> TrialRunner:
    """Scores candidates of a space, which a recipe may have narrowed, on a task."""
    own = own or task()
    table = CandidateTable(narrowed(SearchSpace.parse(space).restricted(own.fields, own.labels)))
    data = SelectionData.of(own, 0)
    words = words_to_score(table, model, data.fit)
    scorer = WordScorer(model, [*words.seeds, *words.candidates], one_token=words.candidates)
    return TrialRunner(own, data, table, scorer, 0, words.by_label)


def scored(runner: TrialRunner, candidate: Candidate) -> Outcome:
    """A candidate's outcome on all that may judge it."""
    race = Race(len(runner.data.examples))
    return runner.run(candidate, race, lambda _: None, droppable=False)
