"""Tiny random language models with realistic tokenizers, made on the spot.

Each family has its own kind of tokenizer, because that is where families differ: WordPiece (BERT,
DistilBERT, ELECTRA), byte-level BPE (RoBERTa, ModernBERT, DeBERTa, the causal ones) and Unigram
(ALBERT, XLM-RoBERTa, DeBERTa-v2). Every ASCII word can be spelled. The weights are random and
wide, so that log-probabilities differ by whole units and a wrong position or a lost token shows.
"""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

WORD_LIST = """
it was is a an the this that and or not very all in of to my text film movie book story plot acting
review news topic about great good fine excellent terrible bad awful dull boring funny warm slow
fast nice poor sports business science world politics game team market money computer what who
where when person place number thing yes no maybe question answer true false gripping spaced don
"""
WORDS = WORD_LIST.split()
MAX_LENGTH = 48
SIZES = {"num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": 0.3}
BERT_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA_SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]
PRINTABLE = [char for char in string.printable if not char.isspace()]


def stripping(text: str) -> transformers.AddedToken:
    """A mask token that swallows the space before it, as RoBERTa's and ALBERT's do."""
    return transformers.AddedToken(text, lstrip=True, special=True, normalized=False)


# -- vocabularies -----------------------------------------------------------------------------


def wordpiece_vocabulary() -> dict[str, int]:
    lower = [char for char in PRINTABLE if not char.isupper()]
    pieces = [*BERT_SPECIALS, *WORDS, *lower, *(f"##{char}" for char in lower), "##ing", "##ly"]
    return {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}


def byte_level_bpe(specials: list[str]) -> tuple[dict[str, int], list[str]]:
    """Vocabulary and merges, trained on the words with and without a space before them."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=specials,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    lines = [form for word in WORDS for form in (f"x {word} {word.title()}", word, word.title())]
    tokenizer.train_from_iterator(lines, trainer)
    return _vocabulary_and_merges(tokenizer)


def _vocabulary_and_merges(tokenizer: tokenizers.Tokenizer) -> tuple[dict[str, int], list[Any]]:
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


def unigram_pieces(specials: list[str], cased: bool) -> list[tuple[str, float]]:
    """Words cost less than their letters, so that each word is one piece."""
    words = [*WORDS, *(word.title() for word in WORDS)] if cased else list(WORDS)
    letters = PRINTABLE if cased else [char for char in PRINTABLE if not char.isupper()]
    pieces = [(special, 0.0) for special in specials]
    pieces += [(f"▁{word}", -5.0 - index / 100) for index, word in enumerate(words)]
    pieces += [(word, -7.0 - index / 100) for index, word in enumerate(words) if len(word) > 2]
    pieces += [("▁", -6.0), *((char, -9.0) for char in letters)]
    found: dict[str, float] = {}
    for piece, score in pieces:
        found.setdefault(piece, score)
    return list(found.items())


# -- families ---------------------------------------------------------------------------------


def bert() -> tuple[Any, Any]:
    tokenizer = transformers.BertTokenizer(wordpiece_vocabulary())
    config = transformers.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        max_position_embeddings=MAX_LENGTH,
        **SIZES,
    )
    return tokenizer, config


def distilbert() -> tuple[Any, Any]:
    tokenizer = transformers.DistilBertTokenizer(wordpiece_vocabulary())
    config = transformers.DistilBertConfig(
        vocab_size=len(tokenizer),
        dim=32,
        hidden_dim=64,
        n_layers=2,
        n_heads=2,
        initializer_range=0.3,
        max_position_embeddings=MAX_LENGTH,
    )
    return tokenizer, config


def electra() -> tuple[Any, Any]:
    """A generator: its embeddings are narrower than its body, with a projection between."""
    tokenizer = transformers.ElectraTokenizer(wordpiece_vocabulary())
    config = transformers.ElectraConfig(
        vocab_size=len(tokenizer),
        embedding_size=16,
        hidden_size=32,
        intermediate_size=64,
        max_position_embeddings=MAX_LENGTH,
        **SIZES,
    )
    return tokenizer, config


def roberta() -> tuple[Any, Any]:
    """Positions begin after the padding index, so that the table has two rows that are not used."""
    vocabulary, merges = byte_level_bpe([*ROBERTA_SPECIALS, "<mask>"])
    tokenizer = transformers.RobertaTokenizer(vocabulary, merges, mask_token=stripping("<mask>"))
    config = transformers.RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        max_position_embeddings=MAX_LENGTH + 2,
        type_vocab_size=1,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        **SIZES,
    )
    return tokenizer, config


def modernbert() -> tuple[Any, Any]:
    """No position table, and a sliding window over fewer tokens than a sequence has."""
    vocabulary, merges = byte_level_bpe(BERT_SPECIALS)
    backend = tokenizers.Tokenizer(models.BPE(vocabulary, merges))
    backend.normalizer = tokenizers.normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")],
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        mask_token=stripping("[MASK]"),
        model_input_names=["input_ids", "attention_mask"],
    )
    ids = {f"{name}_token_id": vocabulary[f"[{name.upper()}]"] for name in ("pad", "cls", "sep")}
    config = transformers.ModernBertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=2,
        global_attn_every_n_layers=2,
        local_attention=8,
        max_position_embeddings=MAX_LENGTH,
        initializer_range=0.3,
        bos_token_id=ids["cls_token_id"],
        eos_token_id=ids["sep_token_id"],
        **ids,
    )
    return tokenizer, config


def deberta() -> tuple[Any, Any]:
    vocabulary, merges = byte_level_bpe(BERT_SPECIALS)
    tokenizer = transformers.DebertaTokenizer(vocabulary, merges, mask_token=stripping("[MASK]"))
    config = transformers.DebertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        max_position_embeddings=MAX_LENGTH,
        relative_attention=True,
        position_biased_input=False,
        pos_att_type="c2p|p2c",
        type_vocab_size=0,
        **SIZES,
    )
    return tokenizer, config


def albert() -> tuple[Any, Any]:
    pieces = unigram_pieces(["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"], cased=False)
    tokenizer = transformers.AlbertTokenizer(pieces, mask_token=stripping("[MASK]"))
    config = transformers.AlbertConfig(
        vocab_size=len(tokenizer),
        embedding_size=16,
        hidden_size=32,
        intermediate_size=64,
        max_position_embeddings=MAX_LENGTH,
        **SIZES,
    )
    return tokenizer, config


def xlm_roberta() -> tuple[Any, Any]:
    """Its pre-tokenizer puts a space before every section ("always")."""
    pieces = unigram_pieces([*ROBERTA_SPECIALS, "<mask>"], cased=True)
    tokenizer = transformers.XLMRobertaTokenizer(pieces, mask_token=stripping("<mask>"))
    config = transformers.XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        max_position_embeddings=MAX_LENGTH + 2,
        type_vocab_size=1,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        **SIZES,
    )
    return tokenizer, config


def deberta_v2() -> tuple[Any, Any]:
    """As DeBERTa-v3: disentangled attention, and no absolute positions at the input."""
    pieces = unigram_pieces(["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"], cased=True)
    tokenizer = transformers.DebertaV2Tokenizer(pieces, unk_id=3)
    config = transformers.DebertaV2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        max_position_embeddings=MAX_LENGTH,
        relative_attention=True,
        position_buckets=16,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        position_biased_input=False,
        pos_att_type="p2c|c2p",
        type_vocab_size=0,
        **SIZES,
    )
    return tokenizer, config


FAMILIES: dict[str, Callable[[], tuple[Any, Any]]] = {
    family.__name__: family
    for family in (
        bert,
        distilbert,
        electra,
        roberta,
        modernbert,
        deberta,
        albert,
        xlm_roberta,
        deberta_v2,
    )
}


# -- causal families --------------------------------------------------------------------------

END_OF_TEXT = "<|endoftext|>"
LLAMA_SPECIALS = ["<|begin_of_text|>", "<|end_of_text|>"]
LLAMA_HEADERS = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
# Chat templates as instruction models have them: Llama 3's begins with the BOS token and trims its
# messages, ChatML does neither, and says something where there is no system message, as Qwen2.5.
LLAMA_CHAT = """\
{{ bos_token }}{% for message in messages %}
{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
{{- message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}"""
CHATML = """\
{%- if messages[0]['role'] != 'system' %}
{{- '<|im_start|>system\\ngood.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}"""
# How the tokenizers of Llama 3 cut text: a word goes with the one sign or space before it.
LLAMA_CUTS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def gpt2() -> tuple[Any, Any]:
    """Tied embeddings, and a BOS token that the tokenizer knows but does not add."""
    tokenizer = transformers.GPT2Tokenizer(*byte_level_bpe([END_OF_TEXT]))
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=32,
        n_layer=2,
        n_head=2,
        n_positions=MAX_LENGTH,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=0,
    )
    return tokenizer, config


def llama() -> tuple[Any, Any]:
    """Its tokenizer puts a BOS token in front; queries share keys and values."""
    vocabulary, merges = byte_level_bpe(LLAMA_SPECIALS)
    backend = tokenizers.Tokenizer(models.BPE(vocabulary, merges, ignore_merges=True))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(LLAMA_CUTS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(
        single=f"{LLAMA_SPECIALS[0]} $A",
        pair=f"{LLAMA_SPECIALS[0]} $A {LLAMA_SPECIALS[0]} $B",
        special_tokens=[(LLAMA_SPECIALS[0], 0)],
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=LLAMA_SPECIALS[0],
        eos_token=LLAMA_SPECIALS[1],
        model_input_names=["input_ids", "attention_mask"],
        chat_template=LLAMA_CHAT,
    )
    # Special, but of no use that transformers has a name for, as in Llama 3.
    tokenizer.add_tokens([tokenizers.AddedToken(text, special=True) for text in LLAMA_HEADERS])
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_key_value_heads=1,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=1,
        **SIZES,
    )
    return tokenizer, config


def qwen2() -> tuple[Any, Any]:
    """No BOS token at all, tied embeddings, and special tokens beside the vocabulary."""
    vocabulary, merges = byte_level_bpe([])
    tokenizer = transformers.Qwen2Tokenizer(
        vocabulary,
        merges,
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        chat_template=CHATML,
    )
    config = transformers.Qwen2Config(
        vocab_size=len(tokenizer) + 5,  # padded, as Qwen's is
        hidden_size=32,
        intermediate_size=64,
        num_key_value_heads=1,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **SIZES,
    )
    return tokenizer, config


def gpt_neox() -> tuple[Any, Any]:
    """As Pythia: rotary positions on a quarter of the width, attention beside the feed-forward."""
    vocabulary, merges = byte_level_bpe([END_OF_TEXT, "<|padding|>"])
    tokenizer = transformers.GPTNeoXTokenizer(vocabulary, merges)
    config = transformers.GPTNeoXConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        rotary_pct=0.25,
        max_position_embeddings=MAX_LENGTH,
        bos_token_id=0,
        eos_token_id=0,
        **SIZES,
    )
    return tokenizer, config


def mistral() -> tuple[Any, Any]:
    """A sliding window over fewer tokens than a sequence has."""
    config = transformers.MistralConfig(
        vocab_size=len(llama()[0]),
        hidden_size=32,
        intermediate_size=64,
        num_key_value_heads=1,
        max_position_embeddings=MAX_LENGTH,
        sliding_window=6,
        bos_token_id=0,
        eos_token_id=1,
        **SIZES,
    )
    return llama()[0], config


def bloom() -> tuple[Any, Any]:
    """ALiBi: it takes no positions, and tells no length."""
    tokenizer = transformers.GPT2Tokenizer(
        *byte_level_bpe(["<unk>", "<s>", "</s>", "<pad>"]),
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        model_max_length=MAX_LENGTH,
    )
    config = transformers.BloomConfig(
        vocab_size=len(tokenizer), hidden_size=32, n_layer=2, n_head=2, initializer_range=0.3
    )
    return tokenizer, config


def opt() -> tuple[Any, Any]:
    """Its positions begin at 2, and its head follows a part of its body."""
    vocabulary, merges = byte_level_bpe(["<s>", "<pad>", "</s>", "<unk>"])
    tokenizer = transformers.GPT2Tokenizer(
        vocabulary, merges, unk_token="<unk>", bos_token="</s>", eos_token="</s>", pad_token="<pad>"
    )
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="</s> $A", pair="</s> $A </s> $B", special_tokens=[("</s>", vocabulary["</s>"])]
    )
    config = transformers.OPTConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        word_embed_proj_dim=32,
        ffn_dim=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=MAX_LENGTH,
        init_std=0.3,
        activation_function="gelu",  # tests of gradients take finite differences
        bos_token_id=vocabulary["</s>"],
        eos_token_id=vocabulary["</s>"],
        pad_token_id=vocabulary["<pad>"],
    )
    return tokenizer, config


CAUSAL: dict[str, Callable[[], tuple[Any, Any]]] = {
    family.__name__: family for family in (gpt2, llama, qwen2, gpt_neox, mistral, bloom, opt)
}


# -- families with an encoder and a decoder ---------------------------------------------------


def t5() -> tuple[Any, Any]:
    """Sentinels at the end of the vocabulary, which is smaller than the embeddings."""
    sentinels = [(f"<extra_id_{number}>", 0.0) for number in (2, 1, 0)]
    pieces = [*unigram_pieces(["<pad>", "</s>", "<unk>"], cased=True), *sentinels]
    tokenizer = transformers.T5Tokenizer(pieces, extra_ids=3, model_max_length=MAX_LENGTH)
    config = transformers.T5Config(
        vocab_size=len(tokenizer) + 3,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_decoder_layers=3,
        num_heads=2,
        relative_attention_num_buckets=8,
        initializer_factor=2.0,
        feed_forward_proj="gated-gelu",  # as T5 1.1
        decoder_start_token_id=0,
    )
    return tokenizer, config


def bart() -> tuple[Any, Any]:
    """A mask token that swallows the space before it, and positions that begin at 2."""
    tokenizer = roberta()[0]
    config = transformers.BartConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=MAX_LENGTH,
        init_std=0.3,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
    )
    return tokenizer, config


SEQ2SEQ: dict[str, Callable[[], tuple[Any, Any]]] = {
    family.__name__: family for family in (t5, bart)
}


def build(family: str, directory: Path, seed: int = 0) -> Path:
    """Save a tiny model of a family with its tokenizer, as `save_pretrained` does."""
    tokenizer, config = {**FAMILIES, **CAUSAL, **SEQ2SEQ}[family]()
    kind: Any = transformers.AutoModelForMaskedLM
    if family in CAUSAL:
        kind = transformers.AutoModelForCausalLM
    elif family in SEQ2SEQ:
        kind = transformers.AutoModelForSeq2SeqLM
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = kind.from_config(config)
    module.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory
