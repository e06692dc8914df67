"""`autoprompt spaces`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from autoprompt.cli.options import json_option

if TYPE_CHECKING:
    from autoprompt.spaces import SearchSpace


@click.group()
def spaces() -> None:
    """List, show and validate search spaces."""


@spaces.command("list")
@json_option
def list_spaces(as_json: bool) -> None:
    """The spaces that ship with autoprompt."""
    from autoprompt.spaces import SearchSpace, shipped_spaces

    found = {name: SearchSpace.load(name) for name in shipped_spaces()}
    if as_json:
        document = [
            {
                "name": name,
                "description": space.description,
                "fields": list(space.fields),
                "labels": [list(labels) for labels in space.label_sets],
            }
            for name, space in found.items()
        ]
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
        return
    for name, space in found.items():
        labels = "; or ".join(", ".join(labels) for labels in space.label_sets)
        click.echo(f"{name:15} {len(space.seeds)} seeds   labels: {labels}")


@spaces.command()
@click.argument("name")
def show(name: str) -> None:
    """Print a shipped space, for example to begin one of your own with it."""
    from autoprompt.errors import UnknownNameError
    from autoprompt.spaces import shipped_spaces

    found = shipped_spaces()
    if name not in found:
        raise UnknownNameError("search space", name, found)
    click.echo(found[name].read_text(encoding="utf-8"), nl=False)


@spaces.command()
@click.argument("name")
@click.option("--model", default=None, help="Show how this model spells the label words.")
def validate(name: str, model: str | None) -> None:
    """Check a space (a shipped one or a YAML file), and say what it holds."""
    from autoprompt.spaces import SearchSpace

    space = SearchSpace.load(name)
    click.echo(
        f"{name}: valid. {_size(space)}, calibration {', '.join(space.calibration)}; for models "
        f"that are not masked ones: {_size(space.for_family('causal'))}"
    )
    if model is not None:
        _show_words(space, model)


def _size(space: SearchSpace) -> str:
    templates = sum(space.compositions(pattern) for pattern in space.patterns)
    return (
        f"{len(space.seeds)} seeds, {len(space.patterns)} patterns giving {templates:,} templates"
    )


def _show_words(space: SearchSpace, model: str) -> None:
    from autoprompt.cli.console import on_one_line, quiet_libraries
    from autoprompt.errors import TemplateError, VerbalizerError
    from autoprompt.models.loading import load_model
    from autoprompt.prompts import Frame

    quiet_libraries()
    loaded = load_model(model)
    encoder = loaded.encoder
    for seed in space.for_family(loaded.identity.family).seeds:
        click.echo(f"  {on_one_line(seed.template.text)}")
        try:
            encoder.check(seed.template)
        except TemplateError as error:
            click.echo(f"    left out by a search on this model: {error}")
            continue
        for label, words in seed.words.items():
            spelt = []
            for word in words:
                try:
                    ids = list(encoder.word_ids(Frame(seed.template), word))
                    spelt.append(
                        f"{word} = {' '.join(encoder.tokenizer.convert_ids_to_tokens(ids))}"
                    )
                except VerbalizerError as error:
                    spelt.append(f"{word}: {error}")
            click.echo(f"    {label}: {'; '.join(spelt)}")
