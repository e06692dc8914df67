"""`autoprompt doctor`."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Callable

import click

PACKAGES = ("autoprompt", "torch", "transformers", "tokenizers", "optuna", "scikit-learn", "numpy")


@click.command()
def doctor() -> None:
    """Check the installation, and show what it runs on."""
    click.echo(f"python         {platform.python_version()} on {platform.platform()}")
    for name in PACKAGES:
        click.echo(f"{name:14} {importlib.metadata.version(name)}")
    checks: list[tuple[str, Callable[[], str]]] = [
        ("devices", _devices),
        ("spaces", _spaces),
        ("sample tasks", _samples),
        ("model", _model),
        ("causal model", _causal_model),
    ]
    failed = 0
    for name, check in checks:
        try:
            click.echo(f"{name:14} {check()}")
        except Exception as error:  # each check reports, and the next one runs
            failed += 1
            click.echo(f"{name:14} FAILED: {error}")
    if failed:
        click.echo("Something is missing: install autoprompt again.", err=True)
        sys.exit(1)
    click.echo("All is well. Next: autoprompt demo")


def _devices() -> str:
    import torch

    from autoprompt.models.precision import bfloat16_gain

    gain = bfloat16_gain("cpu")
    found = [f"cpu ({torch.get_num_threads()} threads, bfloat16 {gain:.1f} times as fast)"]
    if torch.cuda.is_available():
        found.append(f"cuda ({torch.cuda.get_device_name()})")
    if torch.backends.mps.is_available():
        found.append("mps")
    return ", ".join(found)


def _spaces() -> str:
    from autoprompt.spaces import SearchSpace, shipped_spaces

    return ", ".join(SearchSpace.load(name).name for name in shipped_spaces())


def _samples() -> str:
    from autoprompt.tasks.task import Task, sample_tasks

    return ", ".join(f"{name} ({len(Task.load(name).test)} test)" for name in sample_tasks())


def _model() -> str:
    from autoprompt.models.embedded import EMBEDDED

    return _predicted(EMBEDDED)


def _causal_model() -> str:
    from autoprompt.models.embedded import EMBEDDED_CAUSAL, is_installed

    if not is_installed(EMBEDDED_CAUSAL):
        return f"{EMBEDDED_CAUSAL} is not part of this installation"
    return _predicted(EMBEDDED_CAUSAL)


def _predicted(name: str) -> str:
    from autoprompt.cli.console import quiet_libraries
    from autoprompt.models.loading import load_model
    from autoprompt.prediction import Predictor
    from autoprompt.prompts import Prompt
    from autoprompt.templates import Template
    from autoprompt.verbalizers import Verbalizer

    quiet_libraries()
    prompt = Prompt(
        Template.parse("{text} It was {mask}."),
        Verbalizer.of({"negative": ["terrible"], "positive": ["great"]}),
    )
    model = load_model(name)
    (prediction,) = Predictor(prompt, model).predict(["A warm, funny film."])
    return f"{model.identity.name} predicts {prediction.label!r} for 'A warm, funny film.'"
