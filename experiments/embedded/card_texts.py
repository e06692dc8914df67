"""The parts of the model cards that do not depend on a measurement."""

from __future__ import annotations

_MASKED_INTRODUCTION = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: fill-mask
tags: [bert, masked-language-model, prompting]
---

# autoprompt embedded masked language model

A small uncased English BERT (Devlin et al. 2019) that ships inside `autoprompt`, so that prompts
can be searched and scored without a download. It was trained from scratch with the recipe in
`experiments/embedded` of the autoprompt repository. It is made for short inputs such as
`a funny, moving film. It was [MASK].`

```python
from transformers import AutoModelForMaskedLM, AutoTokenizer

model = AutoModelForMaskedLM.from_pretrained(folder)
tokenizer = AutoTokenizer.from_pretrained(folder)
```
"""

_CAUSAL_INTRODUCTION = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
tags: [llama, causal-language-model, prompting]
---

# autoprompt embedded causal language model

A small cased English Llama (Touvron et al. 2023) that ships inside `autoprompt` as
`--model embedded-causal`, so that prompts for causal models can be searched and scored without a
download. It was trained from scratch with the recipe in `experiments/embedded` of the autoprompt
repository, beside the masked model, on the same text.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained(folder)
tokenizer = AutoTokenizer.from_pretrained(folder)
```
"""

INTRODUCTIONS = {"masked": _MASKED_INTRODUCTION, "causal": _CAUSAL_INTRODUCTION}
"""By objective."""

_OWN_LIMITS = {
    "masked": """- English only, lowercased; rare characters become `[UNK]`. Inputs longer than the
  position table cannot be used.
- Of its training text a slip of the sentence splitter removed the quotation marks and brackets that
  close a sentence within a line; the recipe keeps them now.
- Every sequence was trained as a single segment. The embedding of the second segment is a copy
  of the first, so pairs of texts work but were never trained as pairs.
""",
    "causal": """- English only. It follows no instructions and was trained on pieces of 256 tokens;
  what it writes is grammatical for a sentence or two and often untrue.
- The tokenizer adds no token of its own; `<|endoftext|>` stood after each block of up to 24 lines
  of a document, and attention crossed it.
""",
}

LIMITS = {
    objective: f"""
## Limits

- It is small: it knows few facts, and its zero-shot accuracy is modest.
  It is meant for demonstrations, tests and prompt search on a small machine, not as a substitute
  for a large model.
{own}- The text holds old novels, encyclopedia articles, textbooks and opinionated reviews, and the
  model reflects their errors, prejudices and coarse language. It should not be used to judge
  people.
- The weights are stored in float16 and load as float32.
"""
    for objective, own in _OWN_LIMITS.items()
}
"""By objective."""

REPRODUCING = """
## Reproducing

`experiments/embedded/README.md` gives the steps; with the corpus at hand:

```
python -m experiments.embedded.vocabulary --config RECIPE --corpus CORPUS --work WORK
python -m experiments.embedded.pack --config RECIPE --corpus CORPUS --tasks TASKS --work WORK
python -m experiments.embedded.train --config RECIPE --work WORK
python -m experiments.embedded.ship --config RECIPE --work WORK --output FOLDER --datasets TASKS
```

where `RECIPE` is `experiments/embedded/recipe.yaml` or `recipe-causal.yaml`.

## References

- Devlin et al. 2019, BERT: Pre-training of Deep Bidirectional Transformers.
- Liu et al. 2019, RoBERTa: A Robustly Optimized BERT Pretraining Approach.
- Touvron et al. 2023, LLaMA: Open and Efficient Foundation Language Models.
- Hu et al. 2024, MiniCPM: Unveiling the Potential of Small Language Models.
- Wilson 1927, Probable Inference, the Law of Succession, and Statistical Inference.
- Zhou et al. 2023, Batch Calibration: Rethinking Calibration for In-Context Learning.
- Pang and Lee 2004, A Sentimental Education (the movie reviews).
"""
