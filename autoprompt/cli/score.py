"""`autoprompt score`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from autoprompt.cli.options import (
    DataOptions,
    ModelOptions,
    data_options,
    json_option,
    model_options,
    prompts_model_option,
)


@click.command()
@click.argument("prompt_path", metavar="PROMPT")
@click.option("--data", required=True, metavar="FILE", help="Labelled examples.")
@prompts_model_option
@data_options
@model_options
@json_option
def score(
    prompt_path: str,
    data: str,
    model: str | None,
    data_options: DataOptions,
    model_options: ModelOptions,
    as_json: bool,
) -> None:
    """Measure a prompt (a file, or a run's best) on labelled examples."""
    from autoprompt.prompts import Prompt
    from autoprompt.runs import prompt_file
    from autoprompt.tasks.examples import split_digest

    prompt = Prompt.load(prompt_file(prompt_path))
    examples = data_options.examples(Path(data), prompt, labelled=True)

    from autoprompt.cli.console import quiet_libraries
    from autoprompt.prediction import Predictor

    quiet_libraries()
    language_model = model_options.model_of(prompt, model)
    found = Predictor(prompt, language_model).score(examples).measures()
    digest = split_digest(examples)
    # The number on the selection data is cross-fitted: the finished prompt has another one there.
    known = [name for name in ("dev", "test") if prompt.splits.get(name) == digest]
    recorded = prompt.scores.get(known[0]) if known else None
    if as_json:
        document = {
            "prompt": prompt.digest,
            "data": data,
            "measures": {name: value.to_dict() for name, value in found.items()},
            "split": known[0] if known else None,
            "recorded": recorded,
        }
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
        return
    for name, value in found.items():
        stored = (recorded or {}).get(name)
        beside = f"   in the prompt file: {stored['value']:.3f}" if stored else ""
        click.echo(f"{name:14}{value}{beside}")
    if known:
        click.echo(f"This is the {known[0]} split of the run that found the prompt.")
