"""Learning the uncased WordPiece vocabulary (BERT, Devlin et al. 2019, section 3)."""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import WordPieceTrainer

from experiments.embedded.corpus import read_documents, source_path
from experiments.embedded.recipe import Recipe, read_recipe

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def sample_lines(recipe: Recipe, corpus: Path) -> Iterator[str]:
    """Yield lines of every source, each up to its share of the sample (shares of all: 1)."""
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
    """Learn the vocabulary and return the complete tokenizer."""
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
    tokenizer.train_from_iterator(sample_lines(recipe, corpus), trainer)
    ids = {token: tokenizer.token_to_id(token) for token in SPECIAL}
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    return tokenizer


def write_tokenizer(tokenizer: Tokenizer, folder: Path, longest: int) -> None:
    """Write ``tokenizer.json`` and the small file ``AutoTokenizer`` needs beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": True,
        "model_max_length": longest,
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
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
    write_tokenizer(tokenizer, arguments.work / "tokenizer", recipe.packing.row_length)
    print(f"vocabulary of {tokenizer.get_vocab_size()} entries")


if __name__ == "__main__":
    main()
