"""`lm-eval`: a task of EleutherAI's lm-evaluation-harness, with its data.

Its multiple-choice tasks sum the log-probabilities of an answer's tokens, with no calibration; that
ranks labels as the prompt does where all words have equally many tokens. Fields and traps are those
of lm-eval 0.4.13.
"""

from __future__ import annotations

import json

import yaml

from autoprompt.export.material import Files, Material, refused
from autoprompt.export.text_forms import (
    ELSEWHERE,
    TextForm,
    answer_last,
    families,
    form_of,
    jinja,
    no_calibration,
    no_chat,
    one_word_a_label,
    text_gives_the_ids,
    words_of,
)
from autoprompt.models.seq2seq import SENTINELS
from autoprompt.pieces import Field, Literal, merged

DATA = "test.jsonl"
GOLD = "autoprompt_gold"


class LmEvalTask:
    """A task YAML for causal models and T5s."""

    name = "lm-eval"
    reader = "lm-evaluation-harness"
    suffix = ""
    wants_examples = True

    def wants_model(self, material: Material) -> bool:
        """Whether a decoder is asked by a sentinel is for the model to say."""
        return material.family == "seq2seq"

    def check(self, material: Material) -> None:
        """Refuse what its scores would not rank alike."""
        prompt = material.prompt
        families(
            self.name, material, ("causal", "seq2seq"), "it scores the text that continues another"
        )
        no_chat(self.name, prompt)
        no_calibration(self.name, prompt)
        one_word_a_label(self.name, prompt)
        if material.family == "seq2seq":
            self._check_decoder(material)
        else:
            answer_last(self.name, prompt.template)
        text_gives_the_ids(self.name, prompt)
        if prompt.tokens:
            counts = {len(prompt.tokens.words[word]) for word in words_of(prompt)}
            if len(counts) > 1:
                raise refused(
                    self.name,
                    "label words of different numbers of tokens",
                    "it adds up the log-probabilities of tokens, which the prompt averages",
                    f"choose words of equally many tokens, or {ELSEWHERE}",
                )
        said = [piece.text for piece in self._form(material).before if isinstance(piece, Literal)]
        if not "".join(said).strip(" 0123456789"):
            raise refused(
                self.name,
                f"the template {prompt.template.text!r}",
                "a text of digits alone would be read as the number of a choice",
                f"give the template a word of its own, or {ELSEWHERE}",
            )

    def files(self, material: Material) -> Files:
        """The task and its data."""
        form, prompt = self._form(material), material.prompt
        labels = prompt.verbalizer.labels
        rows = [
            {**dict(example.fields), GOLD: labels.index(str(example.label))}
            for example in material.examples
        ]
        words = words_of(prompt)
        asked = f"{SENTINELS[0]}{form.space}" if material.family == "seq2seq" else ""
        task = {
            "task": material.name,
            "dataset_path": "json",
            # Absolute, because relative paths count from where lm_eval is started.
            "dataset_kwargs": {"data_files": {"test": str(material.place.absolute() / DATA)}},
            "test_split": "test",
            "output_type": "multiple_choice",
            "doc_to_text": jinja(form.before),
            "doc_to_choice": [asked + word for word in words],
            "doc_to_target": GOLD,
            "target_delimiter": "" if asked else form.space,
            "num_fewshot": 0,
            "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
            "metadata": {"version": 1.0, "origin": material.origin.to_dict()},
        }
        text = yaml.safe_dump(task, sort_keys=False, allow_unicode=True, width=10_000)
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        return {f"{material.name}.yaml": text, DATA: "".join(lines)}

    def _form(self, material: Material) -> TextForm:
        """What is read before the word; for a T5 all that its encoder reads."""
        form = form_of(material.prompt)
        if material.family != "seq2seq":
            return form
        asked = Literal(form.space + SENTINELS[0])
        before = merged([*form.before, asked, *form.after])
        return TextForm(tuple(p for p in before if isinstance(p, Literal | Field)), form.space, ())

    def _check_decoder(self, material: Material) -> None:
        if material.predictor is None:
            return
        frame = material.prompt.frame
        if not material.predictor.model.encoder.layout(frame).decoder_asks:
            raise refused(
                self.name,
                "a prompt for this model",
                "its decoder reads the text anew up to the word, and a task has one answer for all",
                ELSEWHERE,
            )
