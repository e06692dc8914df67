"""What ships: the wheel, installed elsewhere, has all that a user needs."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from command_line import environment, python

REPOSITORY = Path(__file__).parents[2]
EMBEDDED_FOLDERS = REPOSITORY / "autoprompt/models"
SPACES = ["nli", "paraphrase", "question_type", "sentiment", "topic"]
MOST_BYTES = 50 * 2**20
MODELS = {"embedded": 24 * 2**20, "embedded_causal": 16 * 2**20}  # folder: the most bytes
LOOK = """
import json
import autoprompt
from autoprompt.models.embedded import embedded_path
from autoprompt.spaces import SearchSpace, shipped_spaces
from autoprompt.tasks.task import Task, sample_tasks
print(json.dumps({
    "package": autoprompt.__file__,
    "spaces": {name: str(path) for name, path in shipped_spaces().items()},
    "sentiment": SearchSpace.load("sentiment").labels,
    "samples": {name: len(Task.load(name).test) for name in sample_tasks()},
    "model": sorted(path.name for path in embedded_path().iterdir()),
}))
"""


def quietly(*arguments: object) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    quietly("build", "--wheel", "--no-isolation", "--outdir", folder)
    (found,) = folder.iterdir()
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH, far from the repository."""
    folder = tmp_path_factory.mktemp("installed")
    options = ["--quiet", "--no-deps", "--no-index", "--no-compile"]
    quietly("pip", "install", *options, "--target", folder, wheel)
    return folder


def test_the_wheel_holds_what_it_should(wheel: Path) -> None:
    assert wheel.stat().st_size < MOST_BYTES
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert [name for name in names if name.endswith("licenses/LICENSE")]
    assert {f"autoprompt/search_spaces/{name}.yaml" for name in SPACES} <= {*names}
    for split in ("train.jsonl", "dev.jsonl", "test.jsonl", "task.yaml"):
        assert f"autoprompt/tasks/samples/sentiment/{split}" in names
    tops = {name.split("/")[0] for name in names}
    assert all(top == "autoprompt" or top.endswith(".dist-info") for top in tops)
    assert not [name for name in names if "__pycache__" in name or "tests/" in name]


@pytest.mark.parametrize("folder", MODELS)
def test_the_wheel_holds_small_models(wheel: Path, folder: str) -> None:
    if not (EMBEDDED_FOLDERS / folder / "model.safetensors").is_file():
        pytest.skip(f"{folder} has no weights yet")
    with zipfile.ZipFile(wheel) as archive:
        sizes = {
            Path(entry.filename).name: entry.file_size
            for entry in archive.infolist()
            if entry.filename.startswith(f"autoprompt/models/{folder}/")
        }
    wanted = {"README.md", "config.json", "model.safetensors", "tokenizer.json"}
    assert wanted | {"tokenizer_config.json"} == {*sizes}
    assert sum(sizes.values()) < MODELS[folder]


def test_the_installed_package_finds_what_is_shipped(installed: Path, tmp_path: Path) -> None:
    done = python(LOOK, cwd=tmp_path, PYTHONPATH=str(installed))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert Path(found["package"]).is_relative_to(installed)
    assert sorted(found["spaces"]) == SPACES
    assert all(Path(path).is_relative_to(installed) for path in found["spaces"].values())
    assert found["sentiment"] == ["negative", "positive"]
    assert found["samples"]["sentiment"] > 0
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {*found["model"]}


def test_the_editable_package_finds_the_same_from_elsewhere(tmp_path: Path) -> None:
    done = python(LOOK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert sorted(found["spaces"]) == SPACES
    assert found["samples"]["sentiment"] > 0


def test_the_installed_command_lists_five_spaces(installed: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "autoprompt.cli.main", "spaces", "list"],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(installed)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert [line.split()[0] for line in done.stdout.splitlines()] == SPACES, done.stderr
