"""`chat`: JSON Lines of messages, which fine-tuning services and libraries read.

A plain prompt is what the user says up to the word; the word is the answer. TRL trains on all that
is said in such rows, the user's part too: where that matters, take the format `trl`.
"""

from __future__ import annotations

from autoprompt.export.material import Files, Material
from autoprompt.export.text_format import ORIGIN, TextFormat, lines
from autoprompt.export.text_forms import answer_last, messages_of, no_triggers
from autoprompt.pieces import ASSISTANT


class ChatRows(TextFormat):
    """JSON Lines with the column `messages`."""

    name = "chat"
    reader = "chat fine-tuning (messages JSONL)"
    wants_examples = True

    def check(self, material: Material) -> None:
        """Refuse what cannot be a question with an answer."""
        no_triggers(self.name, material.prompt)
        answer_last(self.name, material.prompt.template)

    def files(self, material: Material) -> Files:
        """The rows, and where they came from."""
        prompt = material.prompt
        words = {label: group[0] for label, group in prompt.verbalizer.as_dict().items()}
        *said, (_, answer) = messages_of(prompt)
        rows: list[dict[str, object]] = []
        for example in material.examples:
            answered = answer.text(example.fields) + answer.space + words[str(example.label)]
            messages = [{"role": role, "content": form.text(example.fields)} for role, form in said]
            rows.append({"messages": [*messages, {"role": ASSISTANT, "content": answered}]})
        return {"train.jsonl": lines(rows), ORIGIN: self.origin(material)}
