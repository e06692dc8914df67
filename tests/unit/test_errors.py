"""The exception tree, and the parts that messages are made of."""

import inspect

import pytest

from autoprompt import errors
from autoprompt.errors import (
    AutopromptError,
    InputError,
    ScoringError,
    SearchError,
    UnknownNameError,
    listing,
    nearest_of,
    shortened,
)

ALL = [
    value
    for _, value in inspect.getmembers(errors, inspect.isclass)
    if issubclass(value, Exception) and value.__module__ == errors.__name__
]


@pytest.mark.parametrize("error", ALL)
def test_every_error_has_the_one_base(error):
    assert issubclass(error, AutopromptError)


@pytest.mark.parametrize("error", ALL)
def test_every_error_is_drawn_in_the_tree(error):
    assert error.__name__ in errors.__doc__


def test_wrong_input_exits_with_2():
    assert InputError("x").exit_code == 2
    assert UnknownNameError("metric", "x", []).exit_code == 2


def test_a_failed_run_exits_with_1():
    assert SearchError("x").exit_code == 1
    assert ScoringError("x").exit_code == 1


@pytest.mark.parametrize(
    ("error", "builtin"),
    [(InputError, ValueError), (SearchError, RuntimeError), (UnknownNameError, LookupError)],
)
def test_errors_are_builtin_errors_too(error, builtin):
    assert issubclass(error, builtin)


def test_unknown_name_lists_the_valid_and_the_nearest():
    message = str(UnknownNameError("metric", "acuracy", ["accuracy", "macro_f1"]))
    assert message == (
        "unknown metric 'acuracy'; did you mean 'accuracy'? valid: accuracy, macro_f1"
    )


def test_unknown_name_takes_an_iterator():
    message = str(UnknownNameError("metric", "acuracy", iter(["accuracy", "macro_f1"])))
    assert message.endswith("did you mean 'accuracy'? valid: accuracy, macro_f1")


def test_nothing_near_gives_no_hint():
    assert nearest_of("zzz", ["accuracy"]) == ""


def test_listing_keeps_the_order():
    assert listing(["b", "a"]) == "b, a"


def test_listing_of_nothing_says_so():
    assert listing([]) == "(none)"


def test_long_listing_is_cut_and_counted():
    assert listing(map(str, range(5)), most=2) == "0, 1, and 3 more"


def test_long_names_are_shortened():
    assert listing(["x" * 10_000, "b"]) == "x" * 60 + "..., b"


def test_messages_stay_on_one_line():
    assert shortened("a\nb\r\n c") == "a b c"


def test_long_blank_text_is_shortened():
    assert shortened(" " * 1000) == "..."
