"""Ways to search: ours, and the neighbours' as presets of the same engine.

A recipe says what of a space is used, which prompts are tried first, whether templates are
composed, how triggers are searched, and which rule picks the winner. The presets follow the papers
and their authors' code, so that methods are compared on one model, with one budget, in one run; the
budget cuts the number of steps, and nothing else. Where an engine that is made for something else
cannot do as a paper does, the comment at the preset says so ("Differs"). All of them share these:

- Models stay frozen. PETAL and LM-BFF go on to fine-tune with what they found, and LM-BFF ranks
  prompts by dev after fine-tuning; here prompts are ranked as they are, as AutoPrompt's are.
- A label word is a whole word of one token, and stands for one label. The papers let labels share
  words, and AutoPrompt takes pieces of words as well; a shared word tells its labels not apart.
- Equal accuracies on dev are told apart by the likelihood, not by which came first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from autoprompt.errors import UnknownNameError
from autoprompt.models.infilling import SentinelInfiller
from autoprompt.pieces import Field, Literal, Mask, Piece, Trigger
from autoprompt.searching.candidates import Candidate, CandidateTable, ModelTemplate
from autoprompt.searching.trigger_objective import TriggerSettings
from autoprompt.space_content import TriggerPlan
from autoprompt.spaces import SearchSpace
from autoprompt.templates import Template

CLEAR_GAIN, BEST_ON_DEV = "clear gain", "best on dev"
VOCABULARY = 10_000  # likeliest words of the model that label words are fitted among
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
        sized: whether its steps are made smaller where the budget would allow only a few.
        races: whether a prompt that lags behind may be dropped before all of dev has judged it.
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
    sized: bool = True
    races: bool = True
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

    def shown_name(self, infiller: SentinelInfiller | None) -> str:
        """What a run of the recipe calls itself.

        LM-BFF's templates are a T5's. Where there is none the model itself fills gaps in the seed,
        which is another method: results must not go by the paper's name.

        Args:
            infiller: the T5 that writes templates, or None.
        """
        return f"{self.name}-fill" if self.conditioned and infiller is None else self.name


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
#
# Schick, Schmid and Schütze 2020; `petal.py` of timoschick/pet. For each pattern of the expert the
# words with the highest likelihood ratio, balanced (section 4, "--normalize"); a label's score is
# the mean of its words' logits (section 3; `_convert_single_mlm_logits_to_cls_logits`).
#
# Differs:
# - Candidates are the words that the masks of the seeds ask for most, whatever the label. The paper
#   takes the 10,000 most frequent words of unlabelled texts, of these for each label the 1,000
#   likeliest on its examples. Its second filter is the narrower one, so that its number is taken.
# - The best pattern is chosen on dev. The paper has no dev: it fine-tunes with all and ensembles.

PETAL_WORDS = 10  # a label: "--words_per_label"
PETAL_CANDIDATES = 1_000  # "--num_candidates"


def _petal_space(space: SearchSpace) -> SearchSpace:
    return replace(
        _bare(space),
        fit_words=True,
        word_methods=("likelihood ratio",),
        words_per_label=(PETAL_WORDS, PETAL_WORDS),
        vocabulary=PETAL_CANDIDATES,
    )


def _petal_first(table: CandidateTable) -> list[Candidate]:
    """Each seed's template with words from the vocabulary."""
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
#
# Gao, Fisch and Chen 2021, section 5; `tools` of princeton-nlp/LM-BFF. Templates are generated
# around the gold labels' manual words by a beam of 100 (5.2), and tried with the manual words
# ("auto T", the paper's main results) and with words assigned to them ("auto T + L"): of the 100
# likeliest words a label ("k_likely") those with the highest accuracy on train (5.1). The best on
# dev is returned.
#
# Differs:
# - Without a T5 the model edits the best seed by filling masks (`generation.fill`), and the run is
#   called `lm-bff-fill`.
# - One assignment a template, ties in accuracy on train told apart by likelihood on train. The
#   authors take ten for each of the ten best templates, and fine-tune to tell them apart on dev.
# - Three labels and more are assigned by a beam in the place of all combinations.
# - Manual words are those of the seed that is edited; the authors have one manual prompt.

LM_BFF_TEMPLATES = 100  # the generating beam; all of them are tried, while the budget lasts


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
    """Each template that the model wrote, with the manual words and with assigned ones.

    The second costs the train examples alone: dev has been through the model by then.
    """
    found: list[Candidate] = []
    for index, made in enumerate(table.written):
        template = replace(table.model_written(index), label_fitted=True)
        found.append(replace(template, words=_words_around(table, made)))
        found.append(replace(template, words=None, method="assignment", per_label=1))
    return found


def _words_around(table: CandidateTable, made: ModelTemplate) -> int:
    """The words of the seed that a template was made from; of the first, where none is known."""
    for index, seed in enumerate(table.space.seeds):
        if made.path and seed.template.text == made.path[0]:
            return table.seed_words(index)
    return table.seed_words(0)


# -- AutoPrompt: triggers from mask tokens, words by the label head --------------------------------
#
# Shin et al. 2020; `create_trigger.py` and `label_search.py` of ucinlp/autoprompt. Label words are
# found first, with mask tokens for triggers, and stay (section 2.3). A step takes the gradient of
# the log-probability of the gold label's words together (equation 1) on one batch, one random
# position, the tokens that promise most there (equation 2), and goes on with the best of them if it
# is strictly more accurate on another batch than the tokens it has (2.2; the paper's text has
# equation 1 there, by which label words only grow likelier for all examples alike, and the code
# accuracy, which is what finds prompts). No label words, no special
# tokens ("--filter"). The prompt that was best on dev is returned.
#
# Differs:
# - One batch a step, as in the authors' commands for facts and relations; their command for SST-2
#   accumulates 30, which for few examples is all of train.
# - Batches are balanced. The prompt of mask tokens may be returned too, if dev likes it best.
# - A candidate must be read as the same tokens again once it is written, so that what is returned
#   is text. The code keeps what no text gives, and bans capitals instead.

AUTOPROMPT_WORDS = 3  # a label: tables 3 and 4 of the paper; its grid is 1, 3 and 5
# The code's default. The paper's grid is 10 and 100; with the 100 of the authors' command for SST-2
# 4,000 forwards are a single step.
AUTOPROMPT_CANDIDATES = 10
AUTOPROMPT_TRIGGERS = 3  # the authors' command for SST-2; the paper's grid is 3 to 6


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
    """`{sentence} [T]..[T] [P].`; for a pair `{premise} [P] [T]..[T] {hypothesis}`."""
    space = Literal(" ")
    pieces: list[Piece]
    if len(fields) == 1:
        pieces = [Field(fields[0]), space, Trigger(triggers), space, Mask(), Literal(".")]
    else:
        first, *others = fields
        pieces = [Field(first), space, Mask(), space, Trigger(triggers)]
        for name in others:
            pieces += [space, Field(name)]
    return Template.of(pieces)


_AUTOPROMPT_STEPS = TriggerSettings(
    candidates=AUTOPROMPT_CANDIDATES,
    batch=24,  # the authors' command for SST-2
    accumulation=1,
    beam=1,
    flips=1,
    one_position=True,
    fresh_batch=True,
    patience=1_000,  # none: the code goes through all its iterations, of which 1,000 are the most
    over_labels=False,
    by_accuracy=True,
)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(),
        # The baseline itself, chosen on all selection data: experts' prompts are fitted on nothing.
        Recipe("manual", _bare, composes=False, races=False),
        Recipe(
            "petal",
            _petal_space,
            _petal_first,
            composes=False,
            races=False,
            rule=BEST_ON_DEV,
        ),
        Recipe(
            "lm-bff",
            _lm_bff_space,
            _lm_bff_first,
            composes=False,
            conditioned=True,
            races=False,
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
            sized=False,
            races=False,
            rule=BEST_ON_DEV,
        ),
    )
}
