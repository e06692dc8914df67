"""Templates that a model writes itself: a seed's words filled anew, and gaps filled by a T5.

`fill` edits a seed template with any masked language model: a word of the template, or a gap beside
one, is masked, and what the model puts there, on average over some examples, is an edit. The best
edits are edited again, as a beam. `generate_with_t5` takes whole templates from a model that was
trained to fill gaps (LM-BFF: Gao, Fisch and Chen 2021, section 5.2).

The scores rank the templates of one call, no more: what a template is worth, a search measures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoprompt.errors import InputError, ModelError
from autoprompt.models.infilling import SentinelInfiller
from autoprompt.models.protocol import LanguageModel
from autoprompt.scoring.ledger import Spent
from autoprompt.searching.filling import Filler
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template


@dataclass(frozen=True)
class Generated:
    """A template that a model wrote.

    Attributes:
        template: valid, and other than the seed.
        score: in nats, higher is better, comparable within one call. From `fill`: the sum of the
            gains of the edits that led here from the seed (see `fill`), each a mean over the
            examples. From `generate_with_t5`: the mean over the examples of the log-probability
            of the two filled gaps.
        edits: the texts of the templates on the way from the seed, oldest first, without this one;
            empty where there was no seed.
    """

    template: Template
    score: float
    edits: tuple[str, ...] = ()


def fill(
    model: LanguageModel,
    template: Template,
    examples: Sequence[Example],
    words: Mapping[str, str] | None = None,
    *,
    beam: int = 4,
    rounds: int = 3,
    options: int = 8,
    most: int = 20,
    shorten: bool = False,
    forwards: int | None = None,
) -> tuple[list[Generated], Spent]:
    """Edit a seed template by iterated mask filling.

    In each round every word of each template in the beam is masked in turn (to be replaced), and
    so is every gap beside a word or slot (to be filled). The model's log-probabilities there,
    averaged over the examples, name the best whole words and punctuation marks. The gain of

    - putting w in the place of v is mean log p(w) - mean log p(v), both at the same mask;
    - putting w into a gap is mean log p(w) - r, where r is the mean over the template's own words
      v of mean log p(v), 0 in a template without words: a word is welcome where it fits better
      than the others do on average;
    - leaving out v, if `shorten`, is r - mean log p(v): what putting it back would cost.

    A word of n tokens is measured at n masks, by the mean of its tokens' log-probabilities, as
    label words are. The `{mask}`, the fields, trigger slots (masks stand for them) and
    demonstrations (none are shown) stay as they are.

    Args:
        model: any masked language model.
        template: the seed.
        examples: texts for the fields, 8 to 16 of them; the caller draws them from train.
        words: label to word. None, the default, leaves the label's mask a mask, and reads no
            label. Else the gold label's word stands there, as in LM-BFF: then the templates are
            fitted on the labels of these examples.
        beam: how many templates of a round are edited in the next.
        rounds: edits that a template may be away from the seed.
        options: the most edits with different words at one place.
        most: the most templates that are returned.
        shorten: whether words may be left out. The model is not asked what it thinks of the
            shorter text, so this rests on a guess; a hard word in the seed invites it.
        forwards: the most sequences to run; where a template's edits might take more than is left,
            it is not edited. None stands for no limit.

    Returns:
        The templates, the best first, each once (two are one where the model gets equal ids), and
        what they cost: one forward for each sequence.

    Raises:
        InputError: a number is smaller than 1.
        ModelError: the model is not a masked one.
        TaskError: there are no examples, or one lacks a field of the template.
        TemplateError: the seed alone does not fit into the model.
        VerbalizerError: an example's label has no word, or the word cannot be written at the mask.
        ScoringError: the model gave a score that is not finite.
    """
    for name, value in {"beam": beam, "rounds": rounds, "options": options, "most": most}.items():
        if value < 1:
            raise InputError(f"{name} must be 1 or more; it is {value}")
    if model.identity.family != "masked":
        raise ModelError(
            f"mask filling needs a masked language model; {model.identity.name!r} is a "
            f"{model.identity.family} one: take a model such as BERT or RoBERTa for it"
        )
    filler = Filler(model, template, examples, words, options, shorten)
    seen = {filler.key(template)}
    found: list[Generated] = []
    front = [Generated(template, 0.0)]
    for _ in range(rounds):
        fresh: dict[tuple[int, ...], Generated] = {}
        for parent in front:
            most_asked = filler.most_forwards(parent.template)
            if forwards is not None and filler.spent.forwards + most_asked > forwards:
                continue
            for text, gain in filler.edits(parent.template):
                child = Generated(
                    Template.parse(text), parent.score + gain, (*parent.edits, parent.template.text)
                )
                key = filler.key(child.template)
                if key and key not in seen and (key not in fresh or _is_better(child, fresh[key])):
                    fresh[key] = child
        seen.update(fresh)
        found += fresh.values()
        front = sorted(fresh.values(), key=_rank)[:beam]
    return sorted(found, key=_rank)[:most], filler.spent


def generate_with_t5(
    infiller: SentinelInfiller,
    examples: Sequence[Example],
    fields: Sequence[str],
    words: Mapping[str, str],
    *,
    beam: int = 100,
    most: int = 100,
    max_tokens: int = 20,
) -> tuple[list[Generated], Spent]:
    """Templates from a T5, by LM-BFF's method.

    Args:
        infiller, examples, fields, words, beam, most, max_tokens: see `SentinelInfiller.generate`,
            also for what is raised.

    Returns:
        The templates, the best first, each once, and what they cost. `score` is the mean over the
        examples of the log-probability that the infiller sums.
    """
    forwards, tokens = infiller.forwards, infiller.tokens
    texts = infiller.generate(examples, fields, words, beam=beam, most=most, max_tokens=max_tokens)
    found = [
        Generated(Template.parse(text, fields), total / len(examples)) for text, total in texts
    ]
    spent = Spent(forwards=infiller.forwards - forwards, tokens=infiller.tokens - tokens)
    return sorted(found, key=_rank), spent


def _rank(generated: Generated) -> tuple[float, str]:
    return -generated.score, generated.template.text


def _is_better(one: Generated, other: Generated) -> bool:
    return _rank(one) < _rank(other)
