"""`autoprompt demo`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from autoprompt.cli.options import json_option, seed_option
from autoprompt.models.embedded import EMBEDDED, EMBEDDED_CAUSAL

# A minute or so on two cores. A causal model runs again for each way that label words begin.
FORWARDS = {EMBEDDED: 6_000, EMBEDDED_CAUSAL: 16_000}


@click.command()
@click.option(
    "--task", "task_name", default="sentiment", show_default=True, help="A sample task's name."
)
@click.option(
    "--model",
    "model_name",
    default=EMBEDDED,
    show_default=True,
    type=click.Choice(list(FORWARDS)),
    help="Which of the models that ship in the package.",
)
@click.option("--out", default=None, metavar="RUN", help="Keep the run here.")
@seed_option
@click.option(
    "--forwards",
    type=int,
    default=None,
    help="The budget: "
    + ", ".join(f"{forwards:,} for {name}" for name, forwards in FORWARDS.items())
    + ".",
)
@json_option
def demo(
    task_name: str,
    model_name: str,
    out: str | None,
    seed: int,
    forwards: int | None,
    as_json: bool,
) -> None:
    """Run the main job on an embedded model and a sample task."""
    from autoprompt.cli.console import say
    from autoprompt.cli.search import search

    out = out or str(Path(tempfile.mkdtemp(prefix="autoprompt-demo-")) / "run")
    arguments = ["--task", task_name, "--space", task_name, "--out", out]
    if model_name != EMBEDDED:
        arguments += ["--model", model_name]
    arguments += ["--forwards", str(forwards or FORWARDS[model_name]), "--seed", str(seed)]
    say(f"This is: autoprompt search {' '.join(arguments)}")
    search.main([*arguments, *(["--json"] if as_json else [])], standalone_mode=False)
    if not as_json:
        click.echo("  autoprompt init --task FILE                     begin with your own examples")
