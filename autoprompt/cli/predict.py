"""`autoprompt predict`."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoprompt.cli.options import (
    DataOptions,
    ModelOptions,
    data_options,
    model_options,
    prompts_model_option,
)

if TYPE_CHECKING:
    from autoprompt.prompts import Prompt
    from autoprompt.tasks.examples import Example


@click.command()
@click.argument("prompt_path", metavar="PROMPT")
@click.option("--data", required=True, metavar="FILE|-", help="Texts; - reads a text a line.")
@click.option("--out", default=None, metavar="FILE", help="Write JSONL here, not to stdout.")
@click.option("--force", is_flag=True, help="Replace --out where it exists.")
@prompts_model_option
@data_options
@model_options
def predict(
    prompt_path: str,
    data: str,
    out: str | None,
    force: bool,
    model: str | None,
    data_options: DataOptions,
    model_options: ModelOptions,
) -> None:
    """Label texts with a prompt (a file, or a run's best): one JSON object a text."""
    from autoprompt.errors import InputError
    from autoprompt.files import write_atomically
    from autoprompt.prompts import Prompt
    from autoprompt.runs import prompt_file

    if out and Path(out).exists() and not force:
        raise InputError(f"{out} exists; pass --force to replace it, or choose another file")
    prompt = Prompt.load(prompt_file(prompt_path))
    if data == "-":
        examples = _from_standard_input(prompt, data_options.encoding)
    else:
        examples = data_options.examples(Path(data), prompt, labelled=False)

    from autoprompt.cli.console import quiet_libraries
    from autoprompt.prediction import Predictor

    quiet_libraries()
    language_model = model_options.model_of(prompt, model)
    predictions = Predictor(prompt, language_model).predict([e.fields for e in examples])
    lines = [
        json.dumps(
            {
                **example.fields,
                "label": prediction.label,
                "probabilities": {
                    label: round(value, 6) for label, value in prediction.probabilities.items()
                },
            },
            ensure_ascii=False,
        )
        for example, prediction in zip(examples, predictions, strict=True)
    ]
    text = "".join(line + "\n" for line in lines)
    if out:
        write_atomically(Path(out), text)
    else:
        click.echo(text, nl=False)


def _from_standard_input(prompt: Prompt, encoding: str) -> list[Example]:
    """One example a line, empty ones included, so that the output has as many lines."""
    from autoprompt.errors import InputError
    from autoprompt.tasks.examples import Example
    from autoprompt.tasks.reading import decoded

    fields = prompt.template.fields
    if len(fields) != 1:
        raise InputError("--data - reads one text a line; this prompt has two fields: give a file")
    text = decoded(sys.stdin.buffer.read(), "standard input", encoding)
    lines = io.StringIO(text, newline=None)  # str.splitlines would also cut at U+2028
    return [Example({fields[0]: line.removesuffix("\n")}) for line in lines]
