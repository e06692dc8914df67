"""`transformers`: a Python file that needs torch and transformers alone.

The file is `standalone.py` with the prompt's ids put in. What only a loaded tokenizer can tell (the
chat template's text, special tokens, the words' ids) is frozen here, so that the file is short.
"""

from __future__ import annotations

import pprint
import sys
from pathlib import Path
from typing import Any

from autoprompt.errors import InputError
from autoprompt.export import standalone
from autoprompt.export.material import Files, Material, refused
from autoprompt.models.embedded import source_of
from autoprompt.objective import predict
from autoprompt.pieces import Demonstrations, Field, Literal, Mask
from autoprompt.prediction import Predictor
from autoprompt.tasks.examples import Example

HOLE = "PROMPT: dict[str, Any] = {}\n"
LIBRARIES = ("transformers", "torch", "tokenizers", "numpy", "safetensors", "huggingface_hub")
SAMPLES = ("text", "A gripping, funny film!", "")


class TransformersFile:
    """A stand-alone Python file."""

    name = "transformers"
    reader = "Python with transformers"
    suffix = ".py"
    wants_examples = False

    def wants_model(self, material: Material) -> bool:
        """Its tokenizer is asked for ids, and its scores are frozen for a check."""
        del material
        return True

    def check(self, material: Material) -> None:
        """Refuse a name that hides a library from the file itself, and touching demonstrations.

        Demonstrations that touch the word would change how the text before it is cut.
        """
        if material.place.stem in {*sys.stdlib_module_names, *LIBRARIES}:
            raise InputError(
                f"a file called {material.place.name} hides the library of that name from itself; "
                f"choose another --out"
            )
        pieces = list(material.prompt.template.pieces)
        if Demonstrations() not in pieces or material.family != "causal":
            return
        between = pieces[pieces.index(Demonstrations()) + 1 : pieces.index(Mask())]
        if not any(not isinstance(p, Literal) or p.text.strip() for p in between):
            raise refused(
                self.name,
                f"the template {material.prompt.template.text!r}",
                "its demonstrations touch the word",
                "export it as 'json', or put a text between them",
            )

    def files(self, material: Material) -> Files:
        """One file.

        Raises:
            InputError: the prompt names no model.
        """
        if material.predictor is None:
            raise InputError("format 'transformers' needs the prompt's model; name one by --model")
        record = frozen(material.predictor)
        record["origin"] = material.origin.to_dict()
        source = Path(standalone.__file__).read_text(encoding="utf-8")
        literal = pprint.pformat(record, width=96, sort_dicts=False)
        return {"": source.replace(HOLE, f"PROMPT: dict[str, Any] = {literal}\n")}


def frozen(predictor: Predictor) -> dict[str, Any]:
    """What the stand-alone file knows of a prompt, as JSON values."""
    prompt, encoder = predictor.prompt, predictor.model.encoder
    identity = predictor.model.identity
    template = prompt.template
    pieces = template.pieces
    fields = {name: pieces.count(Field(name)) for name in template.fields}
    layout = encoder.layout(prompt.frame)
    samples = [dict.fromkeys(template.fields, text) for text in SAMPLES]
    scores = predict(prompt, predictor.scorer, [Example(sample) for sample in samples])
    words = prompt.verbalizer.words
    probe = encoder.record(prompt.frame, ()).probe
    model = {"name": source_of(identity.name), "revision": identity.revision}
    return {
        "model": {**model, "family": identity.family},
        "fields": fields,
        "labels": list(prompt.verbalizer.labels),
        "words": [
            {word: list(encoder.word_ids(prompt.frame, word)) for word in group} for group in words
        ],
        "aggregation": prompt.verbalizer.aggregation,
        "offsets": list(prompt.calibration.offsets),
        "demonstrations": list(prompt.frame.demonstrations),
        "pieces": layout.records(prompt.frame),
        "head": list(layout.head),
        "tail": list(layout.tail),
        "mask": {"id": encoder.mask_id, "strips": list(layout.mask_strips)},
        "decoder": {
            "start": layout.decoder_start,
            "asks": list(layout.decoder_asks),
            "repeats": layout.decoder_start >= 0 and not layout.decoder_asks,
        },
        "controls": list(layout.controls),
        "max_length": encoder.max_length,
        "probe": list(probe),
        "samples": [
            {"fields": sample, "log_probabilities": [float(x) for x in row]}
            for sample, row in zip(samples, scores, strict=True)
        ],
    }
