"""Rules of the house that no linter holds; `lint-imports` holds the floors themselves."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import autoprompt

PACKAGE = Path(autoprompt.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
SOME = ("pipeline", "searching/trials", "models/masked")
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc"}

every_module = pytest.mark.parametrize(
    "module", MODULES, ids=[str(path.relative_to(PACKAGE)) for path in MODULES]
)


def imports_of(module: Path) -> set[str]:
    """What a module imports: `a.b` for both `import a.b` and `from a.b import c`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
    return found


def test_the_modules_are_found() -> None:
    assert {PACKAGE / f"{name}.py" for name in SOME} <= set(MODULES)


@every_module
def test_nobody_below_the_command_line_imports_the_package_itself(module: Path) -> None:
    if module.parent.name != "cli":
        assert "autoprompt" not in imports_of(module)


@every_module
def test_imports_are_absolute(module: Path) -> None:
    assert not [name for name in imports_of(module) if name.startswith(".")]


@every_module
def test_every_module_says_what_it_is(module: Path) -> None:
    assert ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))


@every_module
def test_no_module_has_a_name_that_says_nothing(module: Path) -> None:
    assert not VAGUE & {module.stem, *module.relative_to(PACKAGE).parts}
