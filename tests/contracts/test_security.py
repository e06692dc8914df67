"""Contract 9: nothing executes input. One test, at least, for each promise of SECURITY.md."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Ended, autoprompt

import autoprompt as package
from autoprompt.errors import AutopromptError, InputError
from autoprompt.searching.addresses import Address, without_password
from autoprompt.sharing import Plan, place_to_join
from autoprompt.spaces import SearchSpace
from autoprompt.tasks.columns import read_description
from autoprompt.templates import Template

PACKAGE = Path(package.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
PROMISES = (PACKAGE.parent / "SECURITY.md").read_text(encoding="utf-8")


def calls(module: Path) -> Iterator[tuple[str, ast.Call]]:
    """Each call in a module, by its dotted name."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def imports(module: Path) -> set[str]:
    """The top packages that a module imports."""
    found = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


def test_every_promise_names_a_test_that_is_here() -> None:
    named = set(re.findall(r"`(test_\w+)`", PROMISES))
    here = {name for name in globals() if name.startswith("test_")}
    assert named == here - {"test_every_promise_names_a_test_that_is_here"}


# -- no code from input ---------------------------------------------------------------------------


@pytest.mark.parametrize("module", MODULES, ids=[str(m.relative_to(PACKAGE)) for m in MODULES])
def test_no_module_has_a_way_to_run_input(module: Path) -> None:
    forbidden = {"eval", "exec", "compile", "__import__", "torch.load", "os.system", "os.popen"}
    assert not {"pickle", "dill", "joblib", "shelve", "marshal"} & imports(module)
    if "jinja2" in imports(module):  # the report's own page, in which every value is escaped
        assert module == PACKAGE / "report" / "page.py"
        assert "autoescape=True" in module.read_text(encoding="utf-8")
    assert not {"subprocess", "ctypes"} & imports(module)
    for name, call in calls(module):
        assert name not in forbidden, f"{name} in line {call.lineno}"
        if name in ("np.load", "numpy.load", "np.save", "numpy.save"):
            given = {word.arg: ast.unparse(word.value) for word in call.keywords}
            assert given.get("allow_pickle") == "False", f"line {call.lineno}"
        if name.startswith("yaml.") and name != "yaml.safe_dump":
            assert "Loader=yaml.BaseLoader" in ast.unparse(call), f"line {call.lineno}"


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system ['touch {mark}']",
        "!!python/object/new:subprocess.Popen [['touch', '{mark}']]",
        "!!python/name:os.system",
        "&a [*a]",
    ],
)
def test_yaml_builds_nothing_but_text(tmp_path: Path, value: str) -> None:
    mark = tmp_path / "mark"
    path = tmp_path / "task.yaml"
    path.write_text(f"name: {value.replace('{mark}', str(mark))}\n", encoding="utf-8")
    for read in (lambda: read_description(path), lambda: SearchSpace.load(str(path))):
        with pytest.raises(InputError, match="not allowed"):
            read()
    assert not mark.exists()


@pytest.mark.parametrize(
    "slot", ["text.__class__", "text[0]", "text!r", "text:>9", "__import__('os')", "text()", "0"]
)
def test_slots_of_a_template_are_names(slot: str) -> None:
    with pytest.raises(InputError):
        Template.parse(f"{{text}} {{{slot}}} {{mask}}")


@pytest.mark.parametrize("text", ["{{ 7 * 7 }}", "{% raw %}", "{mask}", "{text.__class__}"])
def test_braces_in_a_text_are_text(text: str) -> None:
    template = Template.parse("{text} it was {mask}.")
    assert template.render({"text": text}, mask="great") == f"{text} it was great."


def test_pickled_weights_and_a_models_own_code_are_not_run(tmp_path: Path) -> None:
    import os

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'mark'}",)

    import pickle

    model = tmp_path / "model"
    model.mkdir()
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    code = f"open({str(tmp_path / 'mark')!r}, 'w')"
    (model / "modeling_evil.py").write_text(code, encoding="utf-8")
    config = {"model_type": "evil", "auto_map": {"AutoConfig": "modeling_evil.Config"}}
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for given in (config, {"model_type": "bert"}):
        (model / "config.json").write_text(json.dumps(given), encoding="utf-8")
        with pytest.raises(InputError):
            package.load_model(str(model))
    assert not (tmp_path / "mark").exists()


def test_no_file_can_allow_a_models_own_code() -> None:
    """It is an option of the command line and an argument in Python, and nothing else."""
    for module in MODULES:
        for name, call in calls(module):
            for word in call.keywords:
                if word.arg == "trust_remote_code":
                    value = ast.unparse(word.value)
                    assert value in ("trust_remote_code", "self.trust_remote_code"), (module, name)
    assert "trust" not in " ".join(Plan.__dataclass_fields__)
    search = (PACKAGE / "cli" / "search.py").read_text(encoding="utf-8")
    origin = search[search.index("origin={") : search.index("origin={") + 400]
    assert "trust" not in origin


# -- no secrets in what is written ----------------------------------------------------------------


@pytest.fixture
def refused(tmp_path: Path) -> Ended:
    """A search on a server that is not there."""
    url = "postgresql://me:pa%24%24word@127.0.0.1:1/db"
    return autoprompt(
        "--debug", "search", "--task", "sentiment", "--space", "sentiment",
        "--k-shot", 8, "--out", tmp_path / "run", "--storage", url,
    )  # fmt: skip


def test_passwords_are_neither_printed_nor_written(refused: Ended, tmp_path: Path) -> None:
    assert refused.code == 2
    assert "me:***@127.0.0.1" in refused.err
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written
    for text in (refused.out, refused.err, *(p.read_text("utf-8", "replace") for p in written)):
        assert "pa%24%24word" not in text
        assert "pa$$word" not in text
    argument = "--storage=postgresql://me:secret@host/db"
    assert "secret" not in without_password(argument)
    assert "secret" not in repr(Address.parse("mysql://me:secret@host/db"))


# -- no way out of a directory --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "'; DROP TABLE a", "\0"])
def test_names_of_studies_are_no_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        place, run = place_to_join(name, "postgresql://me@host/db")
    except AutopromptError:
        return
    assert run is None
    assert place.study == name  # a value for the database, bound and never pasted
    assert not list(tmp_path.iterdir())


def test_a_bomb_is_refused_in_bounded_time_and_memory(tmp_path: Path) -> None:
    bombs = {
        "alias.yaml": "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
        "deep.yaml": "[" * 5000 + "]" * 5000,
        "deep.json": "[" * 100_000,
    }
    for name, content in bombs.items():
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        with pytest.raises(AutopromptError):
            (package.Prompt.load if name.endswith("json") else read_description)(path)
