"""The `autoprompt` command: its verbs, and how errors reach the user.

Nothing here or at the top of a verb's file imports torch: `--help` must be quick.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback

import click

from autoprompt import __version__
from autoprompt.cli.audit import audit
from autoprompt.cli.compare import compare
from autoprompt.cli.demo import demo
from autoprompt.cli.doctor import doctor
from autoprompt.cli.export import export
from autoprompt.cli.init import init
from autoprompt.cli.predict import predict
from autoprompt.cli.report import report
from autoprompt.cli.review import review
from autoprompt.cli.run import run
from autoprompt.cli.score import score
from autoprompt.cli.search import search
from autoprompt.cli.spaces import spaces
from autoprompt.cli.tune import tune
from autoprompt.cli.worker import worker
from autoprompt.errors import AutopromptError

DEBUG = "AUTOPROMPT_DEBUG"
INTERRUPTED = (
    "interrupted; what was finished is kept: search and tune go on with the same command and "
    "--resume, a search with its other workers too"
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="autoprompt")
@click.option("--debug", is_flag=True, help="Show a traceback where something fails.")
def cli(debug: bool) -> None:
    """Find the best prompt for a task on a language model that you run yourself.

    Begin with `autoprompt demo`, or with `autoprompt init --task FILE` on your own examples.
    """
    if debug:
        os.environ[DEBUG] = "1"


VERBS = (
    demo,
    init,
    run,
    search,
    worker,
    tune,
    compare,
    score,
    predict,
    audit,
    export,
    report,
    review,
    spaces,
    doctor,
)
for verb in VERBS:
    cli.add_command(verb)


def main() -> None:
    """Run the command line; exit with 2 for wrong usage or input, with 1 for a failed run."""
    # Read when torch is loaded. Threads that spin while they wait slow a shared machine manifold.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
    try:
        cli.main(prog_name="autoprompt", standalone_mode=False)
    except _TerminatedError:
        _end(INTERRUPTED, 143)
    except click.exceptions.Abort:
        _end(INTERRUPTED, 130)
    except KeyboardInterrupt:
        _end(INTERRUPTED, 130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nothing to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except AutopromptError as error:
        _end(str(error), error.exit_code)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
        _end(
            f"{type(error).__name__}: {reason} (unexpected; `autoprompt --debug ...` shows where)",
            1,
        )


class _TerminatedError(BaseException):
    """SIGTERM has come: what runs is given back on the way out."""


def _terminate(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: the way out is short
    raise _TerminatedError


def _end(message: str, code: int) -> None:
    if os.environ.get(DEBUG):
        traceback.print_exc()
    click.echo(f"autoprompt: {message}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
