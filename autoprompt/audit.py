"""How far a prompt can be trusted: other wordings, changed inputs, exchanged groups of people.

Everything is compared with the same prompt on the same examples, unchanged: a change of the metric
says what it costs, a flip is an example whose predicted label becomes another one. Nothing is
fitted. Any labelled examples will do but those of the test split, which only a verdict reads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from autoprompt.audit_results import Audit, Change, FamilyAudit, Flips, PairAudit
from autoprompt.changed_texts import changed_texts, check_share
from autoprompt.counterfactuals import Counterfactual, swapped_groups
from autoprompt.errors import InputError, TaskError, UnknownNameError, listing, shortened
from autoprompt.objective import Scored, evaluate, gold_indices, predict
from autoprompt.prediction import Predictor
from autoprompt.prompts import Prompt
from autoprompt.robustness import Spread, scores_and_notes
from autoprompt.scoring.label_scores import Floats
from autoprompt.scoring.metrics import Measure, measure
from autoprompt.tasks.columns import METRICS
from autoprompt.tasks.examples import Example, split_digest
from autoprompt.tasks.held_out import HeldOut

SHARE = 0.3


def audit(
    predictor: Predictor,
    examples: Sequence[Example],
    metric: str = "accuracy",
    seed: int = 0,
    share: float = SHARE,
    held_out: HeldOut | None = None,
) -> Audit:
    """Audit a prompt on labelled examples.

    Args:
        predictor: the prompt on its model.
        examples: labelled ones, not those of the prompt's test split.
        metric: one of `METRICS`.
        seed: of the words that are discarded at random.
        share: of words, and of key words, that are discarded; above 0, at most 1.
        held_out: the test examples of the prompt's run, as `runs.held_out_of` finds them.

    Raises:
        InputError: see `check_request`.
    """
    check_request(predictor.prompt, examples, metric, share, held_out)
    prompt, scorer = predictor.prompt, predictor.scorer
    # What the template does not show can neither change a prediction nor name a group.
    shown = [
        Example({name: example.fields[name] for name in prompt.template.fields}, example.label)
        for example in examples
    ]
    base = evaluate(prompt, scorer, shown)
    unchanged = measure(metric, base.log_probabilities, base.gold)
    everything = np.ones(len(shown), dtype=bool)
    scored, notes = scores_and_notes(prompt, scorer, shown)
    if held_out is None and "test" in prompt.splits:
        notes.append(
            "the run that found the prompt is not at hand, so that its test split would be known "
            "again as a whole only, not a part of it"
        )
    rewritten = tuple(
        _change(name, metric, unchanged, base, found, everything) for name, found in scored.items()
    )
    inputs = []
    for name, texts in changed_texts(shown, share, seed).items():
        differs = np.array(
            [new.key != old.key for new, old in zip(texts, shown, strict=True)], dtype=bool
        )
        if differs.any():
            found = evaluate(prompt, scorer, texts)
            inputs.append(_change(name, metric, unchanged, base, found, differs))
        else:
            notes.append(f"the changed input {name!r} is left out: it changes no text")
    return Audit(
        metric,
        unchanged,
        rewritten,
        Spread.of([unchanged.value, *(change.metric.value for change in rewritten)]),
        tuple(inputs),
        _bias(predictor, shown, base),
        share,
        seed,
        tuple(notes),
    )


def check_request(
    prompt: Prompt,
    examples: Sequence[Example],
    metric: str,
    share: float = SHARE,
    held_out: HeldOut | None = None,
) -> None:
    """Refuse what cannot be audited, before a model is loaded.

    Args:
        prompt, examples, metric, share, held_out: as for `audit`.

    Raises:
        UnknownNameError: the metric is not one of `METRICS`.
        TaskError: there are no examples, one has no label or one that the prompt does not know,
            or a field of the template is missing.
        InputError: the share is out of its range, or examples are of the prompt's test split.
    """
    if metric not in METRICS:
        raise UnknownNameError("metric", metric, METRICS)
    check_share(share)
    if not examples:
        raise TaskError("there are no examples to audit the prompt on; give labelled ones")
    gold_indices(examples, prompt.verbalizer.labels)
    fields = prompt.template.fields
    for example in examples:
        if missing := [name for name in fields if name not in example.fields]:
            raise TaskError(
                f"an example has no text for {listing(missing)}, which the prompt shows; "
                f"it has {listing(example.fields)}"
            )
    _check_not_held_out(prompt, examples, held_out)


def _check_not_held_out(
    prompt: Prompt, examples: Sequence[Example], held_out: HeldOut | None
) -> None:
    found = "these examples are"
    if prompt.splits.get("test") != split_digest(examples):
        held = held_out.among(examples) if held_out else []
        if not held:
            return
        first = shortened(" / ".join(held[0].fields.values()))
        found = f"{len(held)} of these {len(examples)} examples (the first: {first!r}) are of"
    raise InputError(
        f"{found} the test split of the run that found the prompt; an audit that read it would "
        f"make the next choice by it, and its verdict worthless: leave them out, and give the "
        f"train or dev split (RUN/splits/dev.jsonl, where it was drawn) or other labelled examples"
    )


def _change(
    name: str,
    metric: str,
    unchanged: Measure,
    base: Scored,
    found: Scored,
    differs: NDArray[np.bool_],
) -> Change:
    """One row of the audit; `differs` says of which examples the input is another one."""
    value = measure(metric, found.log_probabilities, found.gold)
    flipped = found.predictions != base.predictions
    rows = np.arange(len(base.gold))
    shift = np.exp(found.log_probabilities) - np.exp(base.log_probabilities)
    return Change(
        name,
        value,
        value.value - unchanged.value,
        Flips(int(flipped.sum()), int(differs.sum())),
        float(np.abs(shift[rows, base.gold][differs]).mean()),
    )


def _bias(predictor: Predictor, shown: Sequence[Example], base: Scored) -> tuple[FamilyAudit, ...]:
    """The bias audit: all changed texts in one batch, then sorted by family and groups."""
    swaps = [(row, swap) for row, example in enumerate(shown) for swap in swapped_groups(example)]
    if not swaps:
        return ()
    rows = np.array([row for row, _ in swaps])
    scores = predict(predictor.prompt, predictor.scorer, [swap.example for _, swap in swaps])
    flipped = scores.argmax(axis=1) != base.predictions[rows]
    shifts = np.exp(scores) - np.exp(base.log_probabilities[rows])  # swapped less original
    families: dict[str, dict[tuple[str, str], list[int]]] = {}
    for index, (_, swap) in enumerate(swaps):
        families.setdefault(swap.family, {}).setdefault(swap.groups, []).append(index)
    labels = predictor.prompt.verbalizer.labels
    found = []
    for family, pairs in families.items():
        members = [index for indices in pairs.values() for index in indices]
        found.append(
            FamilyAudit(
                family,
                Flips(len({*rows[members][flipped[members]]}), len({*rows[members]})),
                tuple(
                    PairAudit(
                        groups,
                        Flips(int(flipped[indices].sum()), len(indices)),
                        _shifts(labels, [swaps[index][1] for index in indices], shifts[indices]),
                    )
                    for groups, indices in pairs.items()
                ),
            )
        )
    return tuple(found)


def _shifts(
    labels: Sequence[str], swaps: Sequence[Counterfactual], shifts: Floats
) -> dict[str, Measure]:
    """Mean shift of each label's probability from the first group to the second.

    Args:
        labels: the prompt's.
        swaps: of one pair of groups.
        shifts: shape `(swaps, labels)`, from the original to the changed text.
    """
    # From the second group to the first the same shift has the other sign.
    signs = [0 if s.source is None else 1 if s.source == s.groups[0] else -1 for s in swaps]
    directed = [index for index, sign in enumerate(signs) if sign]
    if not directed:
        return {}
    signed = shifts[directed] * np.array([[signs[index]] for index in directed])
    return {label: _mean(signed[:, column]) for column, label in enumerate(labels)}


def _mean(values: Floats) -> Measure:
    """A mean of probability shifts with Student's 95 % interval; one value alone says nothing."""
    mean, n = float(values.mean()), len(values)
    if n == 1:
        return Measure(mean, n, -1.0, 1.0)
    half = float(stats.t.ppf(0.975, n - 1)) * float(values.std(ddof=1)) / math.sqrt(n)
    return Measure(mean, n, max(-1.0, mean - half), min(1.0, mean + half))
