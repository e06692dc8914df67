"""The shell completion that the README tells of."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.shell_completion import get_completion_class

from autoprompt.cli.main import cli

README = Path(__file__).parents[3] / "README.md"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_verbs_and_options(shell: str) -> None:
    kind = get_completion_class(shell)
    assert kind is not None
    completion = kind(cli, {}, "autoprompt", "_AUTOPROMPT_COMPLETE")
    assert "autoprompt" in type(completion).source_template % completion.source_vars()
    verbs = [item.value for item in completion.get_completions([], "re")]
    assert verbs == ["report", "review"]
    options = [item.value for item in completion.get_completions(["export"], "--f")]
    assert options == ["--format", "--force"]
    assert f"_AUTOPROMPT_COMPLETE={shell}_source autoprompt" in README.read_text(encoding="utf-8")
