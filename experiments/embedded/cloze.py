"""The cloze set: sentences with one gap, and whether a model prefers the right word.

    python -m experiments.embedded.cloze --model FOLDER

A sentence is read with each word of its set in the gap, as minimal pairs are (BLiMP, Warstadt et
al. 2020), and counts as right if the right word scores strictly best:

- a causal model scores the whole sentence, the sum of its tokens' log-probabilities;
- a masked model scores the word's own tokens. A word of several tokens is scored token by token,
  with the token and those of the word after it masked, so that a word's own ending does not give
  it away (Kauf and Ivanova 2023).

Each word of a set is right in one of its sentences and wrong in the others: whoever knows only how
frequent words are stays at chance, which is one over the size of the set.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from autoprompt.errors import InputError
from autoprompt.models.families import FAMILIES
from autoprompt.models.loading import Parts, load_parts
from autoprompt.scoring.metrics import wilson

CLOZE = Path(__file__).parent / "cloze.yaml"
GAP = "{mask}"
MOST_WORDS = 4  # of a set
SEQUENCES = 64  # in a forward pass
SHOWN = 5
Span = tuple[int, int]


@dataclass(frozen=True)
class Item:
    """A sentence with a gap.

    Attributes:
        group, part: where it stands in the set.
        text: with one `GAP`.
        right: the word that belongs there, as inside a sentence.
        wrong: words that do not, one to three.
    """

    group: str
    part: str
    text: str
    right: str
    wrong: tuple[str, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """The right word and the others."""
        return (self.right, *self.wrong)

    @property
    def chance(self) -> float:
        """The probability of a right guess."""
        return 1 / len(self.words)


@dataclass(frozen=True)
class Cloze:
    """A cloze set: items, and open sentences, which are shown and not scored."""

    items: tuple[Item, ...]
    open: tuple[str, ...]


def read_cloze(path: Path = CLOZE) -> Cloze:
    """Read and check a cloze set.

    Raises:
        InputError: a set has other than two to four words, a word is not a single one, a sentence
            has other than one gap or stands twice.
    """
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    items = [
        Item(group, part, text, word, tuple(other for other in words if other != word))
        for group, parts in found["groups"].items()
        for part, sets in parts.items()
        for words in sets
        for word, text in words.items()
    ]
    for item in items:
        _check(item)
    texts = [item.text for item in items] + found["open"]
    for text in texts:
        if text.count(GAP) != 1:
            raise InputError(f"{text!r} has {text.count(GAP)} gaps; write {GAP} once")
        if texts.count(text) > 1:
            raise InputError(f"{text!r} stands twice; remove it once")
    return Cloze(tuple(items), tuple(found["open"]))


def _check(item: Item) -> None:
    for word in item.words:
        if not isinstance(word, str):
            raise InputError(f'{word!r} is no text; put it in quotes, as in "on"')
        if not word.isalpha():
            raise InputError(f"{word!r} is not one word of letters; take another")
    if not 2 <= len(item.words) <= MOST_WORDS:
        raise InputError(f"a set has {len(item.words)} words ({item.right!r}); allowed: 2 to 4")


def filled(text: str, word: str) -> tuple[str, Span]:
    """A sentence with a word in its gap, and the word's place in it.

    >>> filled("{mask} is raining.", "it")
    ('It is raining.', (0, 2))
    """
    start = text.index(GAP)
    shown = word if start else word[0].upper() + word[1:]
    return text.replace(GAP, shown), (start, start + len(shown))


# -- tokens ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Query:
    """Tokens whose log-probabilities are wanted.

    Attributes:
        ids: a sequence, special tokens included.
        places: where in the output the predictions stand.
        targets: the token that is asked for at each place.
    """

    ids: tuple[int, ...]
    places: tuple[int, ...]
    targets: tuple[int, ...]


def masked_queries(tokenizer: Any, text: str, span: Span) -> list[Query]:
    """One query for each token of the word at `span`: it and the word's later tokens are masked."""
    encoded = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True)
    ids = list(encoded["input_ids"])
    places = [
        place
        for place, ((start, end), special) in enumerate(
            zip(encoded["offset_mapping"], encoded["special_tokens_mask"], strict=True)
        )
        if not special and start < span[1] and end > span[0]
    ]
    queries = []
    for at, place in enumerate(places):
        hidden = list(ids)
        for later in places[at:]:
            hidden[later] = tokenizer.mask_token_id
        queries.append(Query(tuple(hidden), (place,), (ids[place],)))
    return queries


def causal_queries(tokenizer: Any, text: str, _span: Span = (0, 0)) -> list[Query]:
    """One query for the whole sentence; each token is predicted from those before it."""
    ids = begun(tokenizer, text)
    return [Query(tuple(ids), tuple(range(len(ids) - 1)), tuple(ids[1:]))]


def begun(tokenizer: Any, text: str) -> list[int]:
    """Ids with a token in front that begins a text, so that the first word is scored as well."""
    ids = [token for token in tokenizer(text)["input_ids"] if token != tokenizer.eos_token_id]
    first = tokenizer.bos_token_id
    first = tokenizer.eos_token_id if first is None else first
    return ids if first is None or ids[:1] == [first] else [first, *ids]


@torch.no_grad()
def log_probabilities(module: Any, queries: Sequence[Query]) -> list[float]:
    """The sum of the wanted log-probabilities of each query, in nats."""
    found = [0.0] * len(queries)
    order = sorted(range(len(queries)), key=lambda at: len(queries[at].ids))
    for start in range(0, len(order), SEQUENCES):
        part = order[start : start + SEQUENCES]
        logits = _logits(module, [queries[at].ids for at in part])
        for row, at in enumerate(part):
            query = queries[at]
            scores = logits[row, list(query.places)].float().log_softmax(-1)
            wanted = scores.gather(1, torch.tensor(query.targets)[:, None])
            found[at] = float(wanted.double().sum())
    return found


def _logits(module: Any, sequences: Sequence[Sequence[int]]) -> torch.Tensor:
    """Output scores of sequences, padded on the right: shape `(sequences, width, vocabulary)`."""
    width = max(len(ids) for ids in sequences)
    ids = torch.zeros((len(sequences), width), dtype=torch.long)
    there = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        there[row, : len(sequence)] = 1
    logits: torch.Tensor = module(input_ids=ids, attention_mask=there).logits
    return logits


# -- scores ---------------------------------------------------------------------------------------


def word_scores(parts: Parts, items: Sequence[Item]) -> list[list[float]]:
    """For each item the log-score of its words, in nats, in the order of `Item.words`."""
    queries_of = masked_queries if parts.family.name == "masked" else causal_queries
    queries: list[Query] = []
    owners: list[tuple[int, int]] = []
    scores = [[0.0] * len(item.words) for item in items]
    for row, item in enumerate(items):
        for column, word in enumerate(item.words):
            made = queries_of(parts.tokenizer, *filled(item.text, word))
            queries += made
            owners += [(row, column)] * len(made)
    found = log_probabilities(parts.module, queries)
    for (row, column), value in zip(owners, found, strict=True):
        scores[row][column] += value
    return scores


def accuracy(rights: Sequence[bool], chances: Sequence[float]) -> dict[str, float]:
    """Share of right answers with its n, Wilson's 95% interval, and the chance rate."""
    n, right = len(rights), sum(rights)
    low, high = wilson(right, n)
    return {"value": right / n, "n": n, "low": low, "high": high, "chance": sum(chances) / n}


def by_group(items: Sequence[Item], rights: Sequence[bool]) -> dict[str, dict[str, float]]:
    """Accuracy of everything ("all"), of each group, and of each of its parts ("group: part")."""
    members: Mapping[str, list[int]] = defaultdict(list)
    for row, item in enumerate(items):
        for name in ("all", item.group, f"{item.group}: {item.part}"):
            members[name].append(row)
    return {
        name: accuracy([rights[row] for row in rows], [items[row].chance for row in rows])
        for name, rows in members.items()
    }


def _likeliest(parts: Parts, texts: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The five likeliest tokens at each gap; a causal model sees what stands before it only."""
    tokenizer = parts.tokenizer
    for text in texts:
        if parts.family.name == "masked":
            shown = text.replace(GAP, tokenizer.mask_token)
            ids = tokenizer(shown)["input_ids"]
            place = ids.index(tokenizer.mask_token_id)
        else:
            shown = text[: text.index(GAP)].rstrip()
            ids = begun(tokenizer, shown)
            place = len(ids) - 1
        with torch.no_grad():
            best = _logits(parts.module, [ids])[0, place].float().softmax(-1).topk(SHOWN)
        yield {
            "text": text,
            "words": [tokenizer.decode([token]).strip() for token in best.indices.tolist()],
            "probabilities": [round(value, 3) for value in best.values.tolist()],
        }


def measure_cloze(parts: Parts, cloze: Cloze) -> dict[str, Any]:
    """Accuracies by group, and the likeliest words of the open sentences."""
    rights = [
        all(own > other for other in others) for own, *others in word_scores(parts, cloze.items)
    ]
    return {"accuracy": by_group(cloze.items, rights), "open": list(_likeliest(parts, cloze.open))}


def load(model: str) -> Parts:
    """A masked or causal model with its tokenizer."""
    return load_parts(model, families=[f for f in FAMILIES if f.name in ("masked", "causal")])


def main() -> None:
    """Print the figures of one model on a cloze set as JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model", required=True, help='a folder, or "embedded"')
    parser.add_argument("--cloze", type=Path, default=CLOZE)
    given = parser.parse_args()
    print(json.dumps(measure_cloze(load(given.model), read_cloze(given.cloze)), indent=2))


if __name__ == "__main__":
    main()
