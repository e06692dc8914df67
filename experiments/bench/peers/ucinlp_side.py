"""ucinlp/autoprompt (a checkout): one iteration of its own `run_model`, timed from inside.

An iteration zeroes the gradients, accumulates one, calls `hotflip_attack`, and then scores the
current trigger and one candidate after the other, each in a pass of its own. The calls of these
names mark the time; nothing in between is ours, and what comes before and after is not counted.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from experiments.bench.serving import Turn, serve


def prepare(job: dict[str, Any], _dtype: str) -> tuple[str, Turn]:
    """See `serving.serve`."""
    import transformers

    sys.path.insert(0, job["checkout"])
    transformers.AutoModelWithLMHead = transformers.AutoModelForMaskedLM  # its former name
    import autoprompt.create_trigger as theirs

    loaded = theirs.load_pretrained(job["model"])
    loaded[1].config.return_dict = False  # it unpacks tuples, as models gave them then
    theirs.load_pretrained = lambda _name: loaded
    watch = _Watch(theirs, loaded[1])
    folder = Path(tempfile.mkdtemp(dir=Path(job["model"]).parent))  # goes with the models
    arguments = _arguments(job, loaded[2], folder)

    def turn(sent: dict[str, Any]) -> dict[str, Any]:
        theirs.run_model(arguments)
        gradient, scoring = watch.step(1 + job["sampled"])
        each = scoring / (1 + job["sampled"])
        found: dict[str, Any] = {"seconds": gradient + each * (1 + job["candidates"])}
        if sent["check"]:
            found["numbers"] = {"losses": _losses(theirs, loaded, arguments, job["checked"])}
        return found

    turn({"check": False})
    return (
        f"its run_model, one pass a candidate; timed with {job['sampled']} candidates and scaled "
        f"to {job['candidates']}"
    ), turn


class _Watch:
    """Notes when an iteration begins, has its gradient, and has scored each trigger."""

    def __init__(self, theirs: Any, model: Any) -> None:
        self._began = self._attacked = 0.0
        self._scored: list[float] = []
        zero_grad, attack, accuracy = model.zero_grad, theirs.hotflip_attack, theirs.AccuracyFn

        def begin(*given: Any, **named: Any) -> Any:
            self._began = time.perf_counter()
            return zero_grad(*given, **named)

        def attacked(*given: Any, **named: Any) -> Any:
            self._attacked = time.perf_counter()
            self._scored.clear()
            return attack(*given, **named)

        class Accuracy(accuracy):  # type: ignore[misc, valid-type]
            """Theirs, with the time noted."""

            def __call__(own, *given: Any) -> Any:  # noqa: N805
                found = super().__call__(*given)
                self._scored.append(time.perf_counter())
                return found

        model.zero_grad, theirs.hotflip_attack, theirs.AccuracyFn = begin, attacked, Accuracy

    def step(self, scored: int) -> tuple[float, float]:
        """Seconds of the gradient, and of scoring this many triggers after it."""
        return self._attacked - self._began, self._scored[scored - 1] - self._attacked


def _arguments(job: dict[str, Any], tokenizer: Any, folder: Path) -> SimpleNamespace:
    """Its command line's arguments, and the files that they name."""
    rows = [
        {"text": text, "label": label}
        for text, label in zip(job["texts"], job["labels"], strict=True)
    ]
    for name, part in {"train": rows, "dev": rows[:1]}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    slots = " ".join(["[T]"] * len(job["start"]))
    template = job["template"].replace("{triggers}", slots).replace("{mask}", "[P]")
    words = {label: [word] for label, word in job["words"].items()}
    return SimpleNamespace(
        seed=0,
        model_name=job["model"],
        label_map=json.dumps(words),
        template=f"[CLS] {template.removesuffix('.')} . [SEP]",
        label_field="label",
        tokenize_labels=False,
        use_ctx=False,
        initial_trigger=tokenizer.convert_ids_to_tokens(job["start"]),
        perturbed=False,
        train=folder / "train.jsonl",
        dev=folder / "dev.jsonl",
        limit=None,
        bsz=len(rows),
        eval_size=len(rows),
        filter=False,
        iters=1,
        accumulation_steps=1,
        num_cand=job["sampled"],
        print_lama=False,
    )


def _losses(theirs: Any, loaded: Any, arguments: Any, triggers: list[list[int]]) -> list[float]:
    """The mean loss of some triggers, by its own functions."""
    import torch

    config, model, tokenizer = loaded
    templatizer = theirs.utils.TriggerTemplatizer(
        arguments.template, config, tokenizer, label_map=json.loads(arguments.label_map)
    )
    rows = theirs.utils.load_trigger_dataset(arguments.train, templatizer, use_ctx=False)
    inputs, labels = theirs.utils.Collator(pad_token_id=tokenizer.pad_token_id)(rows)
    predictor = theirs.PredictWrapper(model)
    with torch.no_grad():
        return [
            float(theirs.get_loss(predictor(inputs, torch.tensor([ids])), labels).mean())
            for ids in triggers
        ]


if __name__ == "__main__":
    serve(prepare)
