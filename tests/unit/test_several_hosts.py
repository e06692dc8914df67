"""The page on several hosts: its commands are commands, its files can be read."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from autoprompt.cli.main import cli

DOCS = Path(__file__).parents[2] / "docs"
COMPOSE = yaml.safe_load((DOCS / "compose.yaml").read_text(encoding="utf-8"))
ROLES = {name: COMPOSE["services"][name] for name in ("search", "worker")}


def page_commands() -> list[str]:
    text = (DOCS / "several-hosts.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    slurm = (DOCS / "slurm.sh").read_text(encoding="utf-8").replace("\\\n", " ")
    lines += [line.strip().removeprefix("exec ") for line in slurm.splitlines()]
    compose = [service["command"].removeprefix("sh -c '") for service in ROLES.values()]
    return [line for line in [*lines, *compose] if line.startswith("autoprompt ")]


def without_shell(command: str) -> list[str]:
    plain = re.sub(r"\$\$?\(.*?\)|#.*|'|\$RESUME", "", command, flags=re.DOTALL)
    return shlex.split(plain)[1:]


@pytest.mark.parametrize("command", page_commands())
def test_the_commands_are_commands(command: str) -> None:
    verb, *arguments = without_shell(command)
    found = cli.commands[verb]
    context: Any = found.make_context(verb, list(arguments))
    assert isinstance(context, click.Context)


def test_there_are_commands_of_all_places() -> None:
    assert len(page_commands()) >= 8


def test_the_search_and_its_workers_share_a_database() -> None:
    for service in ROLES.values():
        assert "@db/" in service["environment"]["AUTOPROMPT_STORAGE"]
        assert service["depends_on"] == {"db": {"condition": "service_healthy"}}
        assert service["stop_signal"] == "SIGTERM"


def test_the_script_is_a_script() -> None:
    subprocess.run(["bash", "-n", DOCS / "slurm.sh"], check=True)
