"""What is loaded, and which names are public."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
from command_line import python

import autoprompt
from autoprompt.cli.main import cli

HEAVY = """
import json, sys
print(json.dumps(sorted({"torch", "transformers", "optuna"} & {*sys.modules})))
"""


def loaded(code: str, folder: Path) -> list[str]:
    done = python(f"{code}\n{HEAVY}", cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_import_is_light(tmp_path: Path) -> None:
    assert loaded("import autoprompt", tmp_path) == []


def test_help_is_light(tmp_path: Path) -> None:
    verbs = [[], *([name] for name in cli.commands), ["spaces", "list"]]
    code = "from autoprompt.cli.main import cli\n" + "\n".join(
        f"cli.main({[*verb, '--help']}, standalone_mode=False)" for verb in verbs
    )
    assert loaded(code, tmp_path) == []


def test_bad_usage_is_told_without_waiting_for_torch(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom autoprompt.cli.main import main\n"
        "sys.argv = 'autoprompt search --task t --space s --out r --budget quik'.split()\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 2"
    )
    # Optuna is a matter of milliseconds; torch and transformers are seconds.
    assert not {"torch", "transformers"} & {*loaded(code, tmp_path)}


def test_the_public_names() -> None:
    assert autoprompt.__all__ == [
        "AutopromptError",
        "Budget",
        "Example",
        "Prediction",
        "Predictor",
        "Prompt",
        "SearchResult",
        "SearchSpace",
        "Task",
        "Template",
        "Verbalizer",
        "load_model",
        "search",
        "tune",
    ]


@pytest.mark.parametrize("name", [name for name in autoprompt.__all__ if name != "search"])
def test_a_public_name_is_there(name: str) -> None:
    assert getattr(autoprompt, name).__name__ == name
    assert name in dir(autoprompt)


def test_search_is_the_function_whatever_was_imported_before() -> None:
    importlib.import_module("autoprompt.searching.budget")
    assert autoprompt.search is importlib.import_module("autoprompt.pipeline").search


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Serach'"):
        autoprompt.Serach  # noqa: B018
