"""The model card of a tuned model: what it is, what it scores, how it is used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from autoprompt.tuning.measuring import CROSS_ENTROPY, DECIDES
from autoprompt.tuning.trained import TRIALS

SEARCHED_ON = "searched_on"  # in the record: the prompt that was then found for the tuned model
TOO_SURE = (
    "It is surer of itself than it is right (cross-entropy as it is, against that at the "
    "temperature that suits it): go by the order of its probabilities, not by their size"
)
METHODS = {
    "full": "all weights",
    "head": "a linear classifier at the mask, over the frozen model",
    "bitfit": "the biases alone (BitFit)",
    "lora": "low-rank matrices (LoRA)",
    "soft": "a soft prompt",
}


def card_of(record: Mapping[str, Any]) -> str:
    """The card as Markdown, with the front matter that model hubs read.

    Args:
        record: as `TuningResult.to_dict` gives it.
    """
    method, base = record["settings"]["method"], record["base"]
    adapter = method in ("lora", "soft")
    lines = [
        "---",
        f"library_name: {'peft' if adapter else 'transformers'}",
        f"base_model: {json.dumps(base['name'], ensure_ascii=False)}",
        "tags: [autoprompt, prompt-tuning, text-classification]",
        "---",
        "",
        f"# {', '.join(task['name'] for task in record['tasks'])}, tuned through a prompt",
        "",
        f"The {base['family']} language model `{base['name']}`, of which {METHODS[method]} "
        f"{'was' if method in ('head', 'soft') else 'were'} trained "
        f"({record['parameters']:,} of {record['all_parameters']:,} parameters) so that the label "
        f"word at the mask is the right one.",
        "",
    ]
    for task in record["tasks"]:
        lines += _task(task)
    if found := record.get(SEARCHED_ON):
        lines += [
            "## The prompt",
            "",
            "After the training, whose prompt and values are above, a prompt was searched for the "
            "tuned model. `prompt.json` is that one; the other is `prompts/tuned_through.json`.",
            "",
            *_prompt(found),
            "- `search/` holds what it scores, and the verdict",
            "",
        ]
    training = record["training"]
    lines += [
        "## Training",
        "",
        f"- {training['steps']} steps of {record['settings']['batch']} examples, "
        f"{record['seconds']:.0f} s; the weights are {record['weights']}: tempered "
        f"cross-entropy on dev chose",
        f"- ended by: {training['reason']}",
        *_trials(record),
        f"- learning rate {record['settings']['learning_rate']:g}, weight decay "
        f"{record['settings']['weight_decay']:g}, seed {record['settings']['seed']}",
        f"- versions: {', '.join(f'{name} {v}' for name, v in record['versions'].items())}",
        "",
        "## Use",
        "",
        "```",
        "autoprompt predict THIS_DIRECTORY --data texts.csv",
        "```",
        "",
        "```python",
        "import autoprompt as ap",
        "",
        'ap.Predictor("THIS_DIRECTORY").predict(["..."])',
        "```",
        "",
        _how_it_loads(method),
    ]
    return "\n".join(lines) + "\n"


def trials_of(record: Mapping[str, Any]) -> dict[str, int]:
    """How many trials chose the numbers (`count`), and how many of them failed; {} for none."""
    return dict(record["training"]["details"].get(TRIALS, {}))


def _trials(record: Mapping[str, Any]) -> list[str]:
    found = trials_of(record)
    if not found:
        return []
    return [
        f"- method, learning rate, steps and batch are the best of {found['count']} trials on dev "
        f"({found['failed']} failed), whose time is in the seconds: the more trials, the brighter "
        f"the side that dev's values are on"
    ]


def _task(task: Mapping[str, Any]) -> list[str]:
    lines = [
        f"## {task['name']}",
        "",
        *_prompt(task),
        f"- {task['examples']} labelled examples were seen (train and dev)",
        "",
        "| on | metric | value | 95 % interval | n |",
        "|---|---|---|---|---|",
    ]
    judged = task["judged_on"]
    for split, name in (("before", f"{judged}, untuned"), ("after", judged), ("test", "test")):
        for metric in dict.fromkeys((task["metric"], DECIDES, CROSS_ENTROPY)):
            found = task[split].get(metric)
            if found:
                lines.append(
                    f"| {name} | {metric} | {found['value']:.3f} | "
                    f"[{found['low']:.3f}, {found['high']:.3f}] | {found['n']} |"
                )
    note = " The prompt alone, on the untuned model, is better." if task["is_worse"] else ""
    note += f" {TOO_SURE}." if task["is_too_sure"] else ""
    return [*lines, "", f"{brightness_of(judged)}.{note}", ""]


def _prompt(record: Mapping[str, Any]) -> list[str]:
    words = ", ".join(f"{label}: {' / '.join(own)}" for label, own in record["words"].items())
    template = record["template"].replace("```", "'''")
    return ["```text", template, "```", "", f"- label words: {words}"]


def brightness_of(judged_on: str) -> str:
    """Why values are on the bright side, with what they were measured on."""
    chooser = "Dev chose the weights" if judged_on == "dev" else "Each fold chose when to stop"
    return f"{chooser}, so its values are on the bright side"


def _how_it_loads(method: str) -> str:
    if method in ("lora", "soft"):
        return (
            "The directory is a `peft` adapter: `PeftModel.from_pretrained(base, THIS_DIRECTORY)`."
        )
    return "The directory is an ordinary `save_pretrained` one: `from_pretrained(THIS_DIRECTORY)`."
