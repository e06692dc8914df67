"""Every error that autoprompt raises on purpose.

A message states the rule, the value that broke it, and the way out. The tree::

    AutopromptError                     anything below; catch this one
    |-- InputError (ValueError)         wrong usage or input; the CLI exits with 2
    |   |-- TaskError                   a data file, a column, a label, a split
    |   |-- TemplateError               a template's text or slots
    |   |-- VerbalizerError             label words that are missing, empty or collide
    |   |-- SpaceError                  a search-space file
    |   |-- FeedbackError               a file of what a person said of a run
    |   |-- PromptError                 a prompt file
    |   |-- ModelError                  a model that is absent, headless or unsuitable
    |   |-- RunDirectoryError           a run directory that is in use, foreign or unwritable
    |   |-- StorageError                a database that cannot be used, or holds no such study
    |   `-- UnknownNameError            a name that is not in a list; the message holds the list
    `-- SearchError (RuntimeError)      a run that failed on the way; the CLI exits with 1
        |-- ScoringError                the model gave scores that are not finite
        |-- OutageError                 the study's database is away, or cannot be written
        `-- DivergedError               the loss of a tuning is not finite
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AutopromptError(Exception):
    """Base of all errors of this package. `exit_code` is what the CLI exits with."""

    exit_code = 1


class InputError(AutopromptError, ValueError):
    """Wrong usage or input: the user can mend it."""

    exit_code = 2


class TaskError(InputError):
    """A data file, a column, a label or a split is not usable."""


class TemplateError(InputError):
    """A template's text or slots break a rule."""


class VerbalizerError(InputError):
    """Label words are missing, empty, unknown to the model, or collide."""


class SpaceError(InputError):
    """A search-space file breaks a rule; the message holds file and line."""


class FeedbackError(InputError):
    """A feedback file breaks a rule, or does not fit the space or the task."""


class PromptError(InputError):
    """A prompt file is damaged, or does not belong to the model or data at hand."""


class ModelError(InputError):
    """A model is absent, has no language-model head, or does not suit the request."""


class RunDirectoryError(InputError):
    """A run directory is in use, belongs to another search, or cannot be written."""


class StorageError(InputError):
    """A database that a study is kept in is misnamed, out of reach, or holds no such study."""


class UnknownNameError(InputError, LookupError):
    """A name is not among the valid ones."""

    def __init__(self, kind: str, name: str, valid: Iterable[str]) -> None:
        names = list(valid)  # an iterator would be spent by the first of two readings
        super().__init__(
            f"unknown {kind} {name!r}; {nearest_of(name, names)}valid: {listing(names)}"
        )


class SearchError(AutopromptError, RuntimeError):
    """A run failed on the way; what was finished is kept."""


class ScoringError(SearchError):
    """The model returned scores that are not finite."""


class OutageError(SearchError):
    """The study's database is away, and waiting did not help, or it cannot be written."""


class DivergedError(SearchError):
    """The loss of a tuning became NaN or infinite."""


def nearest_of(name: str, valid: Iterable[str]) -> str:
    """A hint for a misspelt name.

    >>> nearest_of("sentimant", ["sentiment", "topic"])
    "did you mean 'sentiment'? "
    """
    close = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}? " if close else ""


def listing(names: Iterable[str], most: int = 40) -> str:
    """Names joined by commas, in the order given, cut after `most`; a long name is shortened.

    >>> listing(["text", "label"])
    'text, label'
    """
    shown = [shortened(str(name)) for name in names]
    rest = f", and {len(shown) - most} more" if len(shown) > most else ""
    return (", ".join(shown[:most]) or "(none)") + rest


def shortened(text: str, most: int = 60) -> str:
    """Text as it fits into a message: on one line, cut after `most` characters.

    Names come from files: a table without a header gives whole texts for the names of columns.
    """
    line = " ".join(text[: most * 4].split())
    return f"{line[:most]}..." if len(line) > most or len(text) > most * 4 else line
