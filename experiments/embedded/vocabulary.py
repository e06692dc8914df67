"""Learning the vocabulary.

Masked models get uncased WordPiece (BERT, Devlin et al. 2019, section 3), causal ones cased
byte-level BPE (GPT-2, Radford et al. 2019, section 2.2), which loses no character.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer, WordPieceTrainer

from experiments.embedded.corpus import read_documents, source_path
from experiments.embedded.recipe import Recipe, read_recipe

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PAD, END_OF_TEXT = "<|pad|>", "<|endoftext|>"


def sample_lines(recipe: Recipe, corpus: Path) -> Iterator[str]:
    """Yield lines of every source, each up to its share of the sample (shares are relative)."""
    total = sum(source.share for source in recipe.sources.values())
    for name, source in recipe.sources.items():
        path = source_path(corpus, name)
        budget = recipe.vocabulary.megabytes * 1e6 * source.share / total
        size = sum(len(line) for document in read_documents(path) for line in document)
        chooser = random.Random(f"{recipe.seed} vocabulary {name}")
        keep = budget / size
        for document in read_documents(path):
            for line in document:
                copies = int(keep) + (chooser.random() < keep - int(keep))
                for _ in range(copies):
                    yield line


def learn_vocabulary(recipe: Recipe, corpus: Path) -> Tokenizer:
    """Learn the vocabulary of a recipe and return the complete tokenizer."""
    learn = learn_word_pieces if recipe.objective == "masked" else learn_byte_pairs
    return learn(recipe, sample_lines(recipe, corpus))


def learn_byte_pairs(recipe: Recipe, lines: Iterator[str]) -> Tokenizer:
    """Learn cased byte-level BPE; it adds no token of its own to a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=recipe.vocabulary.size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[PAD, END_OF_TEXT],
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def learn_word_pieces(recipe: Recipe, lines: Iterator[str]) -> Tokenizer:
    """Learn uncased WordPiece with BERT's special tokens."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    trainer = WordPieceTrainer(
        vocab_size=recipe.vocabulary.size,
        limit_alphabet=recipe.vocabulary.characters,
        special_tokens=SPECIAL,
        continuing_subword_prefix="##",
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    ids = {token: tokenizer.token_to_id(token) for token in SPECIAL}
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    return tokenizer


def write_tokenizer(tokenizer: Tokenizer, folder: Path, recipe: Recipe) -> None:
    """Write ``tokenizer.json`` and the small file ``AutoTokenizer`` needs beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings: dict[str, object] = {"model_max_length": recipe.packing.row_length}
    if recipe.objective == "masked":
        settings |= {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
        names = ("pad", "unk", "cls", "sep", "mask")
        settings |= {f"{name}_token": token for name, token in zip(names, SPECIAL, strict=True)}
    else:
        settings |= {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": PAD}
        settings |= {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT}
    text = json.dumps(settings, indent=2) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")


def main() -> None:
    """Learn the vocabulary and write it below the work directory."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    recipe = read_recipe(arguments.config)
    tokenizer = learn_vocabulary(recipe, arguments.corpus)
    write_tokenizer(tokenizer, arguments.work / "tokenizer", recipe)
    print(f"vocabulary of {tokenizer.get_vocab_size()} entries")


if __name__ == "__main__":
    main()
