"""`trl`: prompt and completion, for supervised fine-tuning with TRL.

With these two columns TRL trains on the completion and an end-of-text token, never on the prompt.
The space before the word belongs to the completion: a prompt that ends in one would be tokenized
otherwise. There is no `label` column, which TRL takes for preference data. Read by TRL 1.16.0.
"""

from __future__ import annotations

from autoprompt.export.material import Files, Material
from autoprompt.export.text_format import ORIGIN, TextFormat, lines
from autoprompt.export.text_forms import answer_last, families, form_of, messages_of
from autoprompt.pieces import ASSISTANT


class TrlRows(TextFormat):
    """JSON Lines with the columns `prompt` and `completion`."""

    name = "trl"
    reader = "TRL's SFTTrainer"
    wants_examples = True

    def check(self, material: Material) -> None:
        """Refuse what a causal model does not read."""
        families(self.name, material, ("causal",), "SFT trains causal language models")
        answer_last(self.name, material.prompt.template)

    def files(self, material: Material) -> Files:
        """The rows, and where they came from."""
        prompt = material.prompt
        words = {label: group[0] for label, group in prompt.verbalizer.as_dict().items()}
        rows: list[dict[str, object]] = []
        for example in material.examples:
            word = words[str(example.label)]
            if not prompt.template.is_chat:
                form = form_of(prompt)
                rows.append({"prompt": form.text(example.fields), "completion": form.space + word})
                continue
            *said, (_, answer) = messages_of(prompt)
            answered = answer.text(example.fields) + answer.space + word
            rows.append(
                {
                    "prompt": [
                        {"role": role, "content": form.text(example.fields)} for role, form in said
                    ],
                    "completion": [{"role": ASSISTANT, "content": answered}],
                }
            )
        return {"train.jsonl": lines(rows), ORIGIN: self.origin(material)}
