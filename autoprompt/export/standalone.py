"""A prompt on its language model: label scores of texts, with transformers and nothing else.

    python FILE "a gripping, funny film"      # one JSON object a text
    python FILE --data texts.jsonl            # ... or of a file of them, a JSON object a line
    python FILE --check                       # does this machine give the scores it was made with?

Or `from FILE import Classifier` and `Classifier().predict([{"text": "..."}])`.

This file was written by `autoprompt export --format transformers`; `PROMPT` holds the prompt, with
the token ids that it was scored with, and where it came from.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from typing import Any

import torch
import transformers

PROMPT: dict[str, Any] = {}

LOADERS = {
    "masked": "AutoModelForMaskedLM",
    "causal": "AutoModelForCausalLM",
    "seq2seq": "AutoModelForSeq2SeqLM",
}
HIDDEN = "\0"  # begins the names of special tokens that are hidden from texts
# What a mask token with `lstrip` swallows: Unicode's white space but for four separators.
WHITE = "".join(c for c in map(chr, range(0x3001)) if c.isspace() and not "\x1c" <= c < " ")
ROOM = 8  # tokens of a word; which demonstrations fit does not depend on the word
BATCH = 16


class Classifier:
    """The prompt on its model.

    Args:
        model: a directory or Hugging Face name with the same model, where the one that the prompt
            names is not there.
        device: a torch device.
    """

    def __init__(self, model: str = "", device: str = "cpu") -> None:
        known = PROMPT["model"]
        name = model or known["name"]
        options = {"revision": known["revision"]} if known["revision"] and not model else {}
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(name, **options)
        loader = getattr(transformers, LOADERS[known["family"]])
        self.module = loader.from_pretrained(
            name, dtype=torch.float32, use_safetensors=True, **options
        )
        self.module.eval().to(device)
        self.device = device
        self.reader = reader_of_text(self.tokenizer, PROMPT["controls"])
        fields = dict.fromkeys(PROMPT["fields"], "text")
        if self.encoded(fields, PROMPT["demonstrations"], 1)[0] != PROMPT["probe"]:
            raise SystemExit(f"{name} encodes the prompt to other token ids: another tokenizer")

    def predict(self, texts: list[dict[str, str]]) -> list[dict[str, Any]]:
        """The label of each text with the probabilities of all labels.

        Args:
            texts: field name to text.
        """
        rows = self.scores(texts).exp().tolist()
        return [
            {
                "label": PROMPT["labels"][max(range(len(row)), key=row.__getitem__)],
                "probabilities": dict(zip(PROMPT["labels"], row, strict=True)),
            }
            for row in rows
        ]

    def scores(self, texts: list[dict[str, str]]) -> torch.Tensor:
        """Calibrated log-probabilities of the labels: shape `(texts, labels)`, float64."""
        if not texts:
            return torch.zeros((0, len(PROMPT["labels"])), dtype=torch.float64)
        scored = self.word_scores(texts)
        columns = []
        for words in PROMPT["words"]:
            group = torch.stack([scored[tuple(ids)] for ids in words.values()], dim=1)
            many = PROMPT["aggregation"] == "logsumexp"
            columns.append(group.logsumexp(1) if many else group.mean(1))
        found = torch.stack(columns, dim=1).log_softmax(1)
        offsets = torch.tensor(PROMPT["offsets"] or [0.0] * len(columns), dtype=torch.float64)
        return (found - offsets).log_softmax(1)

    def word_scores(self, texts: list[dict[str, str]]) -> dict[tuple[int, ...], torch.Tensor]:
        """The mean log-probability of each label word's tokens, in each text."""
        spelt = [tuple(ids) for words in PROMPT["words"] for ids in words.values()]
        found: dict[tuple[int, ...], torch.Tensor] = {}
        for count in sorted({len(ids) for ids in spelt}):
            encoded = [self.shortened(fields, count) for fields in texts]
            group = [ids for ids in spelt if len(ids) == count]
            if PROMPT["model"]["family"] == "masked":
                rows = self.log_probabilities([(*known, []) for known in encoded], group)
                found.update(zip(group, rows.T, strict=True))
                continue
            for head in dict.fromkeys(ids[:-1] for ids in group):  # words that begin alike
                tails = [ids for ids in group if ids[:-1] == head]
                asked = [(*known, list(head)) for known in encoded]
                rows = self.log_probabilities(asked, tails)
                found.update(zip(tails, rows.T, strict=True))
        return found

    # -- the model ----------------------------------------------------------------------------

    def log_probabilities(
        self, sequences: list[tuple[list[int], list[int], list[int]]], words: list[tuple[int, ...]]
    ) -> torch.Tensor:
        """Mean log-probability of words' tokens, shape `(sequences, words)`, float64.

        Args:
            sequences: of each the ids, where the words' tokens are predicted, and what of the word
                is read to predict the rest of it.
            words: token ids, equally many each.
        """
        rows = []
        tokens = torch.tensor(words, device=self.device).T  # (tokens, words)
        for start in range(0, len(sequences), BATCH):
            for logits in self.logits(sequences[start : start + BATCH]):
                known = logits.float().log_softmax(-1).double()  # (tokens, vocabulary)
                rows.append(known.gather(1, tokens).mean(0).cpu())
        return torch.stack(rows)

    def logits(self, batch: list[tuple[list[int], list[int], list[int]]]) -> list[torch.Tensor]:
        """The logits at each sequence's places, each of shape `(places, vocabulary)`."""
        family, decoder = PROMPT["model"]["family"], PROMPT["decoder"]
        inputs: list[list[int]] = []
        places: list[list[int]] = []
        read: list[list[int]] = []
        for ids, at, head in batch:
            if family == "masked":
                inputs.append(ids)
                places.append(at)
                continue
            if family == "causal":
                inputs.append(ids + head)
                last = len(ids) - 1
            else:
                begun = [
                    decoder["start"],
                    *(ids[: at[0]] if decoder["repeats"] else decoder["asks"]),
                ]
                inputs.append(ids)
                read.append(begun + head)
                last = len(begun) - 1
            places.append(list(range(last, last + len(head) + 1)))
        arguments = self.padded(inputs, "")
        if read:
            arguments.update(self.padded(read, "decoder_"))
        with torch.inference_mode():
            logits = self.module(**arguments).logits
        return [row[at] for row, at in zip(logits, places, strict=True)]

    def padded(self, rows: list[list[int]], prefix: str) -> dict[str, torch.Tensor]:
        """Sequences as one batch, padded on the right."""
        longest = max(map(len, rows))
        pad = self.tokenizer.pad_token_id or 0
        ids = [row + [pad] * (longest - len(row)) for row in rows]
        mask = [[1] * len(row) + [0] * (longest - len(row)) for row in rows]
        return {
            f"{prefix}input_ids": torch.tensor(ids, device=self.device),
            f"{prefix}attention_mask": torch.tensor(mask, device=self.device),
        }

    # -- from text to ids ---------------------------------------------------------------------

    def encoded(
        self, fields: dict[str, str], shown: list[str], masks: int
    ) -> tuple[list[int], list[int]]:
        """The ids of one text, and where its masks are (or the last token, of a causal model).

        Args:
            fields: field name to text.
            shown: the demonstrations.
            masks: how many mask tokens stand for the word.
        """
        mask = PROMPT["mask"]
        ids, text, strip = list(PROMPT["head"]), "", False
        places: list[int] = []
        for piece in [*PROMPT["pieces"], {"end": True}]:
            if "ids" not in piece and "mask" not in piece and "end" not in piece:
                text += text_of(piece, fields, shown)
                continue
            text = text.lstrip(WHITE) if strip else text
            if "mask" in piece and mask["strips"][0]:
                text = text.rstrip(WHITE)
            ids += self.ids_of(text)
            text, strip = "", "mask" in piece and mask["strips"][1]
            if "mask" in piece:
                places += range(len(ids), len(ids) + masks)
                ids += [mask["id"]] * masks
            ids += piece.get("ids", [])
        ids += PROMPT["tail"]
        if not ids:
            ids = [self.tokenizer.bos_token_id]
        return ids, places or [len(ids) - 1]

    def shortened(self, fields: dict[str, str], count: int) -> tuple[list[int], list[int]]:
        """As `encoded`, for a word of `count` tokens, within the longest input of the model.

        Whole demonstrations go first, the first ones first; then the texts, the longest first.
        """
        if any(HIDDEN in text for text in fields.values()):
            raise ValueError("a text holds a NUL character; remove it")
        family, repeats = PROMPT["model"]["family"], PROMPT["decoder"]["repeats"]
        masks = 1 if family == "seq2seq" else count
        room = count - 1 if family == "causal" or repeats else 0
        limit = PROMPT["max_length"] - room
        shown: list[str] = PROMPT["demonstrations"]
        grows = family != "seq2seq" or repeats  # a longer word leaves less room
        roomy = limit - max(ROOM - count, 0) if grows else limit
        ids, places = self.encoded(fields, shown, masks)
        if shown and len(ids) > roomy:
            empty = dict.fromkeys(fields, "")
            usable = [s for s in shown if len(self.encoded(empty, [s], masks)[0]) <= roomy]
            while usable and len(self.encoded(fields, usable, masks)[0]) > roomy:
                usable = usable[1:]
            shown = usable
            ids, places = self.encoded(fields, shown, masks)
        kept = {name: fields[name] for name in PROMPT["fields"]}
        while len(ids) > limit:
            ends = {name: self.token_ends(text) for name, text in kept.items()}
            if not any(ends.values()):
                raise ValueError("the prompt alone is longer than the model's input")
            lengths = {name: len(found) for name, found in ends.items()}
            for name, left in levelled(lengths, PROMPT["fields"], len(ids) - limit).items():
                if left < lengths[name]:
                    kept[name] = cut(kept[name], ends[name], left)
            ids, places = self.encoded(kept, shown, masks)
        return ids, places

    def ids_of(self, text: str) -> list[int]:
        """The ids of text; special tokens in it are characters."""
        return list(self.reader.encode(text, add_special_tokens=False).ids) if text else []

    def token_ends(self, text: str) -> list[int]:
        """For each token the position of its last character plus one."""
        return [end for _, end in self.reader.encode(text, add_special_tokens=False).offsets]


def text_of(piece: dict[str, Any], fields: dict[str, str], shown: list[str]) -> str:
    """A piece of the template as text."""
    if "run" in piece:  # of a chat message, which may be trimmed
        text = "".join(text_of(part, fields, shown) for part in piece["run"])
        text = text.lstrip() if piece["trim"][0] else text
        return text.rstrip() if piece["trim"][1] else text
    if "field" in piece:
        return fields[piece["field"]]
    return "".join(shown) if "demonstrations" in piece else str(piece["text"])


def reader_of_text(tokenizer: Any, controls: list[str]) -> Any:
    """The tokenizer's backend, to which special tokens in a text are characters.

    Args:
        tokenizer: a fast tokenizer.
        controls: the tokens that a chat is written with, found under their hidden names.
    """
    backend = tokenizer.backend_tokenizer
    record = json.loads(backend.to_str())
    hidden = {name: HIDDEN + name for name in {*tokenizer.all_special_tokens, *controls}}
    for added in record["added_tokens"]:
        if controls and added["content"] in hidden:
            added["normalized"] = False
        added["content"] = hidden.get(added["content"], added["content"])
    model = record["model"]
    if isinstance(model["vocab"], dict):
        model["vocab"] = {hidden.get(piece, piece): at for piece, at in model["vocab"].items()}
    else:
        model["vocab"] = [[hidden.get(piece, piece), score] for piece, score in model["vocab"]]
    if model.get("unk_token"):
        model["unk_token"] = hidden.get(model["unk_token"], model["unk_token"])
    record.update(post_processor=None, truncation=None, padding=None)
    reader = type(backend).from_str(json.dumps(record))
    reader.encode_special_tokens = not controls
    return reader


def levelled(lengths: dict[str, int], repeats: dict[str, int], surplus: int) -> dict[str, int]:
    """How many tokens of each field stay where `surplus` must go, the longest shortened first."""

    def saved(level: int) -> int:
        return sum(max(length - level, 0) * repeats[name] for name, length in lengths.items())

    levels = range(max(lengths.values()) + 1)
    low = max(level for level in levels if saved(level) >= surplus or not level)
    spare = saved(low) - surplus
    left = {}
    for name, length in lengths.items():
        left[name] = min(length, low)
        if length > low and spare >= repeats[name]:
            left[name], spare = low + 1, spare - repeats[name]
    return left


def cut(text: str, ends: list[int], left: int) -> str:
    """The text up to the end of its `left`-th token; always shorter than the text."""
    while left and ends[left - 1] >= len(text):
        left -= 1
    return text[: ends[left - 1]] if left else ""


def checked(classifier: Classifier) -> str:
    """Compare with the scores that were frozen with the prompt."""
    texts = [sample["fields"] for sample in PROMPT["samples"]]
    wanted = [sample["log_probabilities"] for sample in PROMPT["samples"]]
    found = classifier.scores(texts).tolist()
    pairs = [pair for rows in zip(found, wanted, strict=True) for pair in zip(*rows, strict=True)]
    if all(math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-4) for a, b in pairs):
        return f"the scores of {len(texts)} samples are as they were"
    raise SystemExit(f"other scores than the prompt was made with: {found} against {wanted}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Label texts with a prompt.")
    parser.add_argument("texts", nargs="*", help="texts, where the prompt has one field")
    parser.add_argument("--data", help="a file with a JSON object a line, by field")
    parser.add_argument("--model", default="", help="another copy of the model")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--check", action="store_true", help="compare with the frozen scores")
    given = parser.parse_args()
    names = list(PROMPT["fields"])
    if given.texts and len(names) != 1:
        parser.error(f"the prompt has the fields {', '.join(names)}; use --data")
    rows = [{names[0]: text} for text in given.texts]
    if given.data:
        try:
            with open(given.data, encoding="utf-8") as lines:
                rows += [json.loads(line) for line in lines]
        except (OSError, ValueError) as error:
            parser.error(f"{given.data}: a JSON object a line is wanted ({error})")
    if not rows and not given.check:
        parser.error("give texts, --data FILE or --check")
    classifier = Classifier(given.model, given.device)
    if given.check:
        print(checked(classifier))
    for found in classifier.predict(rows):
        print(json.dumps(found, ensure_ascii=False))


if __name__ == "__main__":
    main()
    sys.stdout.flush()
