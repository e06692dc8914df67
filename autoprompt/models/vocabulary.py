"""The words that a tokenizer has as single entries of its vocabulary."""

from __future__ import annotations

from autoprompt.models.encoding import PromptEncoder
from autoprompt.models.sections import PROBE
from autoprompt.verbalizers import normalised_word

LEAST_LETTERS = 2
TEXTS_AT_ONCE = 2**15  # XLM-RoBERTa has a quarter of a million entries


def whole_words(encoder: PromptEncoder) -> dict[str, int]:
    """Every vocabulary entry that is a word by itself.

    That is: letters alone, `LEAST_LETTERS` of them at least, and a word's beginning: the text
    "text word" is the ids of "text" and then this entry. (PETAL and LM-BFF ask for the mark "Ġ" of
    RoBERTa's pieces instead; to tokenize is the same for every family.) So special tokens, entries
    that were kept free, pieces from within words and pieces that the tokenizer never makes are left
    out. Some words can be written as one token only after a space, and all of them are looked at
    there; at the very beginning of a text a word may have another entry, or several.

    Args:
        encoder: of the model.

    Returns:
        Word to id, in the order of the ids. Of entries that `normalised_word` counts as one word
        the lower-case one stays, without one the first.
    """
    tokenizer = encoder.tokenizer
    ids = sorted(set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids))
    decoded = tokenizer.backend_tokenizer.decode_batch([[index] for index in ids])
    texts = [(text.strip(), index) for text, index in zip(decoded, ids, strict=True)]
    alphabetic = [
        (text, index) for text, index in texts if len(text) >= LEAST_LETTERS and text.isalpha()
    ]
    found: dict[str, tuple[str, int]] = {}
    for word, index in _beginning_words(encoder, alphabetic):
        form = normalised_word(word)
        known = found.setdefault(form, (word, index))
        if not _is_lower(known[0]) and _is_lower(word):
            found[form] = (word, index)
    return dict(sorted(found.values(), key=lambda entry: entry[1]))


def _beginning_words(
    encoder: PromptEncoder, entries: list[tuple[str, int]]
) -> list[tuple[str, int]]:
    """Those entries that the tokenizer makes of their own text after another word."""
    before = encoder._batch([PROBE])[0]
    kept = []
    for start in range(0, len(entries), TEXTS_AT_ONCE):
        part = entries[start : start + TEXTS_AT_ONCE]
        encoded = encoder._batch([f"{PROBE} {word}" for word, _ in part])
        kept += [
            entry for entry, ids in zip(part, encoded, strict=True) if ids == [*before, entry[1]]
        ]
    return kept


def _is_lower(word: str) -> bool:
    return word == word.lower()
