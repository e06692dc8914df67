"""Fixtures that every test may use: tiny models made in the run, and no network."""

# ruff: noqa: E402 (the environment must be set before the libraries are imported)

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

# Before huggingface_hub is imported, which reads them once: no test may depend on what the
# developer's cache holds, or reach the network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_CACHE"] = tempfile.mkdtemp(prefix="autoprompt-tests-hub-")
atexit.register(shutil.rmtree, os.environ["HF_HUB_CACHE"], ignore_errors=True)
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Tests do the same on every machine, whatever its bfloat16 is worth.
os.environ["AUTOPROMPT_DTYPE"] = "float32"

import planted
import pytest
import stand_in
import tiny_models
import torch
from filelock import FileLock
from hypothesis import HealthCheck, settings

from autoprompt.models import embedded, precision
from autoprompt.models.loading import load_model
from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.models.transformer import TransformerModel
from experiments.soak.server import MISSING, Server, programs, serving

torch.set_num_threads(1)
precision.bfloat16_gain = lambda device: 1.0

# Where the models of `family_models` run; see the README on testing a GPU.
DEVICE = os.environ.get("AUTOPROMPT_TEST_DEVICE", "cpu")

settings.register_profile(
    "fast",
    max_examples=25,
    deadline=None,  # the cores are shared
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", max_examples=500, deadline=None)
settings.load_profile(os.environ.get("AUTOPROMPT_TEST_PROFILE", "fast"))


@pytest.fixture(scope="session")
def hub_cache() -> Path:
    """The (empty) Hugging Face cache of this test process."""
    return Path(os.environ["HF_HUB_CACHE"])


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """From a family's name to the directory of its tiny model, built at the first call."""
    built: dict[str, Path] = {}

    def directory(family: str) -> Path:
        if family not in built:
            built[family] = tiny_models.build(family, tmp_path_factory.mktemp(family))
        return built[family]

    return directory


@pytest.fixture(scope="session")
def device() -> str:
    """Where the models of `family_models` run."""
    return DEVICE


@pytest.fixture(scope="session")
def family_models(
    model_directory: Callable[[str], Path],
) -> Callable[[str], TransformerModel]:
    """From a family's name to its tiny model, loaded at the first call."""
    loaded: dict[str, TransformerModel] = {}

    def model(family: str) -> TransformerModel:
        if family not in loaded:
            found = load_model(str(model_directory(family)), device=DEVICE)
            assert isinstance(found, TransformerModel)
            loaded[family] = found
        return loaded[family]

    return model


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Builds a model that is dear to make once for all test processes of a run; do not write there.

    It takes the model's name and what makes its directory.
    """
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent  # each process has a folder of its own there

    def build(name: str, make: Callable[[Path], Path]) -> Path:
        folder, done = place / name, place / f"{name}.done"
        with FileLock(place / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of one that failed halfway
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return build


@pytest.fixture(scope="session")
def stand_in_directory(built_once: Callable[..., Path]) -> Path:
    """A model with random weights of the embedded causal model's shape."""
    return built_once("stand-in", stand_in.build)


@pytest.fixture
def causal_stand_in(stand_in_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let `embedded-causal` be the stand-in."""
    monkeypatch.setitem(embedded.FOLDERS, embedded.EMBEDDED_CAUSAL, stand_in_directory)
    return stand_in_directory


@pytest.fixture(scope="session")
def tiny_model(family_models: Callable[[str], TransformerModel]) -> MaskedLanguageModel:
    """A tiny BERT with random weights: whatever is not about a family can use it."""
    return family_models("bert")


@pytest.fixture(scope="session")
def planted_directory(built_once: Callable[..., Path]) -> Path:
    """The model of the planted task, trained at the first call (seconds)."""
    return built_once("planted", planted.build)


@pytest.fixture(scope="session")
def planted_model(planted_directory: Path) -> MaskedLanguageModel:
    """The model of the planted task, loaded."""
    found = load_model(str(planted_directory))
    assert isinstance(found, MaskedLanguageModel)
    return found


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A PostgreSQL server; the tests that want one are skipped where it is not installed."""
    if programs() is None:
        pytest.skip(MISSING)
    with serving() as server:
        yield server


@pytest.fixture
def database(postgres_server: Server) -> str:
    """The address of an empty database."""
    return postgres_server.create(f"test-{uuid.uuid4().hex}")
