"""`autoprompt predict`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoprompt.cli.options import column_options, columns_of, model_options

if TYPE_CHECKING:
    from autoprompt.tasks.examples import Example


@click.command()
@click.argument("prompt_path", metavar="PROMPT")
@click.option("--data", required=True, metavar="FILE|-", help="Texts; - reads a text a line.")
@click.option("--out", default=None, metavar="FILE", help="Write JSONL here, not to stdout.")
@click.option("--force", is_flag=True, help="Replace --out where it exists.")
@click.option("--model", default=None, help="By default the one that the prompt names.")
@column_options
@model_options
def predict(
    prompt_path: str,
    data: str,
    out: str | None,
    force: bool,
    model: str | None,
    text_columns: tuple[str, ...],
    label_column: str,
    encoding: str,
    device: str,
    revision: str,
    trust_remote_code: bool,
) -> None:
    """Label texts with a prompt (a file, or a run's best): one JSON object a text."""
    from autoprompt.errors import InputError
    from autoprompt.files import write_atomically
    from autoprompt.prompts import Prompt
    from autoprompt.runs import prompt_file

    if out and Path(out).exists() and not force:
        raise InputError(f"{out} exists; pass --force to replace it, or choose another file")
    prompt = Prompt.load(prompt_file(prompt_path))
    examples = _examples(data, prompt.template.fields, text_columns, label_column, encoding)

    from autoprompt.cli.console import quiet_libraries
    from autoprompt.prediction import Predictor, model_of

    quiet_libraries()
    language_model = model_of(
        prompt, model, device=device, revision=revision, trust_remote_code=trust_remote_code
    )
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


def _examples(
    data: str,
    fields: tuple[str, ...],
    text_columns: tuple[str, ...],
    label_column: str,
    encoding: str,
) -> list[Example]:
    from autoprompt.errors import InputError
    from autoprompt.tasks.examples import Example
    from autoprompt.tasks.task import load_examples

    if data != "-":
        columns = columns_of(text_columns, label_column)
        return load_examples(Path(data), columns, False, encoding, wanted=fields)
    if len(fields) != 1:
        raise InputError("--data - reads one text a line; this prompt has two fields: give a file")
    try:
        lines = sys.stdin.buffer.read().decode(encoding).splitlines()
    except (UnicodeDecodeError, LookupError) as error:
        raise InputError(f"standard input is not {encoding}; name its --encoding") from error
    return [Example({fields[0]: line}) for line in lines if line.strip()]
