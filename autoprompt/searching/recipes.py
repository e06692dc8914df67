"""Ways to search: ours, and the neighbours' as presets of the same engine.

A recipe says what of a space is used, which prompts are tried first, whether templates are
composed, how triggers are searched, and which rule picks the winner. The presets follow the papers,
so that methods are compared on one model, with one budget, in one run; where a paper leaves a
choice open, or needs a part that is not at hand, the comment at its preset says what was taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from autoprompt.errors import UnknownNameError
from autoprompt.searching.candidates import Candidate, CandidateTable
from autoprompt.searching.triggers import TriggerSettings
from autoprompt.space_content import TriggerPlan
from autoprompt.spaces import SearchSpace
from autoprompt.templates import Field, Literal, Mask, Piece, Template, Trigger

CLEAR_GAIN, BEST_ON_DEV = "clear gain", "best on dev"
PETAL_WORDS = 10  # a label (Schick et al. 2020, section 5)
VOCABULARY = 10_000
LM_BFF_TEMPLATES = 20
AUTOPROMPT_WORDS = 3
AUTOPROMPT_TRIGGERS = 3
SHARE_BEFORE_TRIGGERS = 0.5


def _as_it_is(space: SearchSpace) -> SearchSpace:
    return space


def _nothing_first(_table: CandidateTable) -> list[Candidate]:
    return []


@dataclass(frozen=True)
class Recipe:
    """A way to search.

    Attributes:
        name: for `--recipe`.
        narrowed: the part of a space that is used, and what is added to it.
        first: the prompts that are tried right after the seeds.
        composes: whether templates, words and calibration are then chosen by Optuna.
        conditioned: whether the model writes templates around the gold label's word (LM-BFF), or
            with the label's mask left open.
        share_before_triggers: the share of the budget after which trigger search begins.
        triggers: how it steps.
        parents: how many prompts it refines.
        rule: how the winner is picked: `CLEAR_GAIN` or `BEST_ON_DEV`.
    """

    name: str = "default"
    narrowed: Callable[[SearchSpace], SearchSpace] = _as_it_is
    first: Callable[[CandidateTable], list[Candidate]] = _nothing_first
    composes: bool = True
    conditioned: bool = False
    share_before_triggers: float = SHARE_BEFORE_TRIGGERS
    triggers: TriggerSettings = field(default_factory=TriggerSettings)
    parents: int = 2
    rule: str = CLEAR_GAIN

    @classmethod
    def of(cls, name: str) -> Recipe:
        """A recipe by name.

        Raises:
            UnknownNameError: there is none; the message lists them.
        """
        if name not in RECIPES:
            raise UnknownNameError("recipe", name, RECIPES)
        return RECIPES[name]


def _bare(space: SearchSpace) -> SearchSpace:
    """The seeds alone."""
    return replace(
        space,
        patterns=(),
        slots={},
        candidates={},
        fit_words=False,
        vocabulary=0,
        generated=0,
        triggers=None,
        demonstrations=(0,),
        calibration=("none",),
    )


# -- PETAL: likelihood-ratio words on the expert's templates ---------------------------------------


def _petal_space(space: SearchSpace) -> SearchSpace:
    return replace(
        _bare(space),
        fit_words=True,
        word_methods=("likelihood ratio",),
        words_per_label=(PETAL_WORDS, PETAL_WORDS),
        vocabulary=VOCABULARY,
    )


def _petal_first(table: CandidateTable) -> list[Candidate]:
    """Each seed's template with words from the whole vocabulary."""
    return [
        Candidate(
            seed.template,
            None,
            per_label=PETAL_WORDS,
            aggregation="mean",
            method="likelihood ratio",
            how="words by likelihood ratio (PETAL)",
            lineage=(table.seed_edit(index),),
        )
        for index, seed in enumerate(table.space.seeds)
    ]


# -- LM-BFF: generated templates, then label words -------------------------------------------------


def _lm_bff_space(space: SearchSpace) -> SearchSpace:
    return replace(
        _bare(space),
        fit_words=True,
        word_methods=("assignment",),
        words_per_label=(1, 1),
        vocabulary=VOCABULARY,
        generated=LM_BFF_TEMPLATES,
    )


def _lm_bff_first(table: CandidateTable) -> list[Candidate]:
    """Each template that the model wrote, with one assigned word a label."""
    return [
        replace(
            table.model_written(index),
            words=None,
            method="assignment",
            per_label=1,
            label_fitted=True,
        )
        for index in range(len(table.written))
    ]


# -- AutoPrompt: triggers from mask tokens, words by the label head --------------------------------


def _autoprompt_space(space: SearchSpace) -> SearchSpace:
    return replace(
        _bare(space),
        fit_words=True,
        word_methods=("label head",),
        words_per_label=(AUTOPROMPT_WORDS, AUTOPROMPT_WORDS),
        vocabulary=VOCABULARY,
        triggers=TriggerPlan(AUTOPROMPT_TRIGGERS, ("before_mask",)),
    )


def _autoprompt_first(table: CandidateTable) -> list[Candidate]:
    """The paper's template with mask tokens for triggers (Shin et al. 2020, tables 3 and 4)."""
    return [
        Candidate(
            autoprompt_template(table.space.fields, AUTOPROMPT_TRIGGERS),
            None,
            per_label=AUTOPROMPT_WORDS,
            method="label head",
            label_fitted=True,
            how="mask tokens for triggers, words by the label head (AutoPrompt)",
        )
    ]


def autoprompt_template(fields: tuple[str, ...], triggers: int) -> Template:
    """`{sentence} [T]..[T] [P]`; for a pair `{premise} [P] [T]..[T] {hypothesis}`."""
    space = Literal(" ")
    pieces: list[Piece]
    if len(fields) == 1:
        pieces = [Field(fields[0]), space, Trigger(triggers), space, Mask()]
    else:
        first, *others = fields
        pieces = [Field(first), space, Mask(), space, Trigger(triggers)]
        for name in others:
            pieces += [space, Field(name)]
    return Template.of(pieces)


_AUTOPROMPT_STEPS = TriggerSettings(
    candidates=100,
    batch=24,
    accumulation=1,
    beam=1,
    flips=1,
    one_position=True,
    fresh_batch=True,
    patience=1000,
    over_labels=False,
)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(),
        Recipe("manual", _bare, composes=False, rule=BEST_ON_DEV),
        Recipe("petal", _petal_space, _petal_first, composes=False, rule=BEST_ON_DEV),
        Recipe(
            "lm-bff",
            _lm_bff_space,
            _lm_bff_first,
            composes=False,
            conditioned=True,
            rule=BEST_ON_DEV,
        ),
        Recipe(
            "autoprompt",
            _autoprompt_space,
            _autoprompt_first,
            composes=False,
            share_before_triggers=0.0,
            triggers=_AUTOPROMPT_STEPS,
            parents=1,
            rule=BEST_ON_DEV,
        ),
    )
}
