"""`autoprompt report`."""

from __future__ import annotations

from pathlib import Path

import click

from autoprompt.cli.options import ModelOptions, model_options


@click.command()
@click.argument("run_path", metavar="RUN")
@click.option("--model", default=None, help="By default the one that the run names.")
@click.option(
    "--without-model", is_flag=True, help="Write only what the run's files say; quick, no forwards."
)
@model_options
def report(
    run_path: str, model: str | None, without_model: bool, model_options: ModelOptions
) -> None:
    """Write RUN/report.html: the run on one page that needs no network.

    The model is asked what each token is worth, and how the prompt does in other words.
    """
    click.echo(f"Wrote {written(run_path, model, without_model, model_options)}")


def written(
    run_path: str, model: str | None, without_model: bool, model_options: ModelOptions
) -> Path:
    """Write a report; returns its path. The arguments are those of `report`."""
    from autoprompt.finished_runs import FinishedRun

    run = FinishedRun.load(run_path)

    from autoprompt.report.page import write_report

    facts = None
    if not without_model:
        from autoprompt.cli.console import quiet_libraries
        from autoprompt.prediction import Predictor
        from autoprompt.report.model_facts import model_facts

        quiet_libraries()
        facts = model_facts(run, Predictor(run.best, model_options.model_of(run.best, model)))
    return write_report(run, facts)
