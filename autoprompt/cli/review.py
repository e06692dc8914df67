"""`autoprompt review`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click


class _Terminal:
    """Asks on the terminal: questions go to stderr, as all that is no result."""

    def tell(self, text: str) -> None:
        """Show a text; what a terminal would take for a command is shown as characters."""
        shown = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
        click.echo(shown, err=True)

    def choose(self, question: str, answers: Sequence[str]) -> str:
        """One of the answers; asked again until it is one."""
        kind = click.Choice(list(answers))
        return self._asked(question, type=kind, show_choices=False)

    def write(self, question: str, default: str) -> str:
        """A text."""
        return self._asked(question, default=default)

    @staticmethod
    def _asked(question: str, **options: Any) -> str:
        from autoprompt.review import Stopped

        try:
            return str(click.prompt(question, err=True, **options))
        except click.Abort as error:  # Ctrl-C or the end of input: what was said is kept
            raise Stopped from error


@click.command()
@click.argument("run_path", metavar="RUN")
@click.option("--out", default=None, metavar="FILE", help="By default RUN/feedback.yaml.")
@click.option("--most", type=click.IntRange(0), default=20, show_default=True, help="Of examples.")
@click.option("--force", is_flag=True, help="Replace the file where it exists.")
def review(run_path: str, out: str | None, most: int, force: bool) -> None:
    """Go through a run's finalists and disputed examples, and say what you think of them.

    All of it is selection data, never test. `autoprompt search --feedback FILE` takes what you say
    as seed prompts, bans and corrected labels.
    """
    from autoprompt.errors import InputError
    from autoprompt.finished_runs import FinishedRun

    run = FinishedRun.load(run_path)

    from autoprompt.review import review as ask
    from autoprompt.runs import RunDirectory

    place = Path(out) if out else RunDirectory(run_path).feedback
    if place.exists() and not force:
        raise InputError(f"{place} exists; pass --force to replace it, or name another --out")
    if not run.selection:
        click.echo(
            "The run keeps no predictions on its selection data (an earlier version wrote it), so "
            "there are prompts to look at alone; its search with --resume adds them.",
            err=True,
        )
    found = ask(run, _Terminal(), most)
    if found.is_empty:
        click.echo("Nothing was said, so nothing is written.")
        return
    found.save(place)
    click.echo(
        f"Wrote {place}: {len(found.seeds)} seed prompts, "
        f"{len(found.banned_templates)} banned templates, {len(found.banned_words)} banned words, "
        f"{len(found.labels)} corrected labels\n"
        f"Next: autoprompt search ... --feedback {place} --out ANOTHER_RUN"
    )
