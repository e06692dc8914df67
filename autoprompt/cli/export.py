"""`autoprompt export`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoprompt.cli.options import (
    DataOptions,
    ModelOptions,
    data_options,
    json_option,
    model_options,
    prompts_model_option,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autoprompt.prompts import Prompt
    from autoprompt.tasks.examples import Example

FORMATS = (  # those of `autoprompt.export.formats`, which is not imported for the help
    "json",
    "transformers",
    "lm-eval",
    "trl",
    "chat",
    "peft",
    "dspy",
    "openprompt",
    "promptsource",
    "promptfoo",
    "lm-bff",
)


@click.command()
@click.argument("prompt_path", metavar="PROMPT|RUN")
@click.option("--format", "format_name", required=True, metavar="F", help=f"{', '.join(FORMATS)}.")
@click.option("--out", required=True, metavar="PATH", help="The file or directory to write.")
@click.option(
    "--data",
    default=None,
    metavar="FILE",
    help="Labelled examples, for lm-eval, trl, chat and promptfoo; else the run's own splits.",
)
@click.option(
    "--drop",
    multiple=True,
    metavar="WHAT",
    help="Leave out what the format cannot carry: calibration, words (all but the first a label).",
)
@prompts_model_option
@click.option("--force", is_flag=True, help="Replace --out where it exists.")
@data_options
@model_options
@json_option
def export(
    prompt_path: str,
    format_name: str,
    out: str,
    data: str | None,
    drop: tuple[str, ...],
    model: str | None,
    force: bool,
    data_options: DataOptions,
    model_options: ModelOptions,
    as_json: bool,
) -> None:
    """Write a prompt (a file, or a run's best) for another program.

    What the format cannot carry is refused, with the reason.
    """
    check_format(format_name)
    paths = written(
        prompt_path, format_name, Path(out), data, drop, model, force, data_options, model_options
    )
    if as_json:
        files = [str(path) for path in paths]
        click.echo(json.dumps({"format": format_name, "files": files}, ensure_ascii=False))
    else:
        click.echo(f"Wrote {', '.join(map(str, paths))}")


def check_format(name: str) -> None:
    """Refuse a format that is none, without loading what writes them."""
    from autoprompt.errors import UnknownNameError

    if name not in FORMATS:
        raise UnknownNameError("format", name, FORMATS)


def written(
    source: str,
    format_name: str,
    out: Path,
    data: str | None,
    drop: Sequence[str],
    model: str | None,
    force: bool,
    data_options: DataOptions,
    model_options: ModelOptions,
) -> list[Path]:
    """Write an export; returns its files. The arguments are those of `export`."""
    from autoprompt.prompts import Prompt
    from autoprompt.runs import prompt_file

    prompt = Prompt.load(prompt_file(source))

    from autoprompt.export.formats import check_place, format_of, material_of
    from autoprompt.export.formats import export as write

    chosen = format_of(format_name)
    check_place(out, chosen, force)
    material = material_of(source, prompt, out, drop)
    chosen.check(material)
    if chosen.wants_examples:
        examples = _examples(source, prompt, format_name, data, data_options)
        material = replace(material, examples=examples)
    if chosen.wants_model(material):
        from autoprompt.cli.console import quiet_libraries
        from autoprompt.prediction import Predictor

        quiet_libraries()
        predictor = Predictor(material.prompt, model_options.model_of(prompt, model))
        material = replace(material, predictor=predictor)
    return write(chosen, material)


def _examples(
    path: str, prompt: Prompt, format_name: str, data: str | None, options: DataOptions
) -> Sequence[Example]:
    """The examples of a file; else those that a run drew: train to train on, dev to test on."""
    from autoprompt.errors import InputError
    from autoprompt.objective import gold_indices
    from autoprompt.runs import RunDirectory

    if data is None:
        name = "train" if format_name in ("trl", "chat") else "dev"
        own = RunDirectory(path).splits / f"{name}.jsonl"
        if not own.is_file():
            raise InputError(
                f"format {format_name!r} holds labelled examples, and {path} keeps none (a run "
                f"does where it drew its splits itself); name a file with --data"
            )
        data = str(own)
    examples = options.examples(Path(data), prompt, labelled=True)
    gold_indices(examples, prompt.verbalizer.labels)  # refuses labels that the prompt has not
    return examples
