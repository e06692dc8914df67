"""The model card of a tuned model: what it is, what it scores, how it is used."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from autoprompt.tuning.measuring import CROSS_ENTROPY, DECIDES
from autoprompt.tuning.trained import TRIALS

SEARCHED_ON = "searched_on"  # in the record: the prompt that was then found for the tuned model
TOO_SURE = (
    "It is surer of itself than it is right (cross-entropy as it is, against that at the "
    "temperature that suits it): go by the order of its probabilities, not by their size"
)
NO_HELP = "Tuning did not help, and the weights are those that it began with"
CLASSES = {  # of transformers, by family
    "masked": "AutoModelForMaskedLM",
    "causal": "AutoModelForCausalLM",
    "seq2seq": "AutoModelForSeq2SeqLM",
}
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
        *([f"{NO_HELP}: {training['reason']}.", ""] if not training["step"] else []),
        f"- {training['steps']} steps of {record['settings']['batch']} examples, "
        f"{record['seconds']:.0f} s; the weights are {record['weights']}: tempered "
        f"cross-entropy on dev chose",
        f"- ended by: {training['reason']}",
        *_trials(record),
        *_teacher(training["details"]),
        f"- learning rate {record['settings']['learning_rate']:g}, weight decay "
        f"{record['settings']['weight_decay']:g}, seed {record['settings']['seed']}",
        f"- versions: {', '.join(f'{name} {v}' for name, v in record['versions'].items())}",
        "",
        "## Use",
        "",
        "```",
        *(f"autoprompt predict {path} --data texts.csv" for path in paths_of(record)),
        "```",
        "",
        "```python",
        "import autoprompt as ap",
        "",
        'ap.Predictor("THIS_DIRECTORY").predict(["..."])',
        "```",
        "",
        _how_it_loads(method, base["name"], base["family"]),
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


def _teacher(details: Mapping[str, Any]) -> list[str]:
    """Of an ensemble: its members, and how good it was before it was distilled."""
    if "members" not in details:
        return []
    what = "tuned prompts" if details["tuned"] else "prompts on the untuned model"
    members = [
        f"  - weight {member['weight']:.2f}, tempered cross-entropy {member[DECIDES]:.3f} on dev: "
        f"`{member['template']}`"
        for member in details["members"]
    ]
    return [
        f"- distilled from a mixture of {len(members)} {what} on {details['unlabelled']} "
        f"unlabelled texts (PET); on dev the mixture has cross-entropy "
        f"{details['cross_entropy']:.3f} and accuracy {details['accuracy']:.3f}, and its weights "
        f"were fitted there:",
        *members,
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


def _how_it_loads(method: str, base: str, family: str) -> str:
    """Without this package: the model alone, whose logits are no labels yet."""
    kind = CLASSES[family]
    if method not in ("lora", "soft"):
        how = (
            f"The directory is an ordinary `save_pretrained` one: "
            f"`{kind}.from_pretrained(THIS_DIRECTORY)`"
        )
    else:
        how = (
            f"The directory is a `peft` adapter: "
            f"`PeftModel.from_pretrained({kind}.from_pretrained(BASE), THIS_DIRECTORY)`, where "
            f"BASE is `{base}`"
        )
        if base.startswith("embedded"):  # no name that transformers knows
            folder = f"models/{base.replace('-', '_')}"
            how += f", which lies in the package `autoprompt` as `{folder}`"
    return (
        f"{how}. Its logits at the mask are no labels yet: label words, and offsets of their "
        f"scores where there are some, stand in `prompt.json`."
    )


def paths_of(record: Mapping[str, Any], place: str = "THIS_DIRECTORY") -> list[str]:
    """What to give to `predict`: for each of several tasks its prompt file."""
    names = [task["name"] for task in record["tasks"]]
    if len(names) == 1:
        return [place]
    return [f"{place}/prompts/{file_of(number, name)}" for number, name in enumerate(names, 1)]


def file_of(number: int, name: str) -> str:
    """The prompt file of one of several tasks."""
    plain = re.sub(r"\W+", "_", name)[:60]
    return f"{number}_{plain}.json"
