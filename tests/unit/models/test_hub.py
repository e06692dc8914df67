"""Without a network a name is given up quickly; what the hub answers is left to its client."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import transformers
from huggingface_hub.errors import HfHubHTTPError

from autoprompt.errors import ModelError
from autoprompt.models import hub
from autoprompt.models.infilling import SentinelInfiller
from autoprompt.models.loading import load_model

NAME = "no-one/no-model"


class UnreachableError(Exception):
    """What an HTTP library raises; which one the hub's client is built on has changed before."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of a hub that cannot be reached, one request each."""
    urls: list[str] = []

    def unreachable(url: str) -> None:
        urls.append(url)
        raise UnreachableError("Name or service not known")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", unreachable)
    monkeypatch.setattr(hub, "PAUSE", 0)
    return urls


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What transformers is asked for; it finds nothing."""
    names: list[str] = []

    def absent(source: str, **_: Any) -> None:
        names.append(source)
        raise OSError("no such model")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", absent)
    return names


@pytest.mark.parametrize("load", [load_model, SentinelInfiller.load])
def test_a_hub_that_cannot_be_reached_is_given_up(
    asked: list[str], client: list[str], load: Any
) -> None:
    with pytest.raises(ModelError, match="check the name and the network"):
        load(NAME, revision="v1")
    assert len(asked) == 2
    assert all(NAME in url and "v1" in url for url in asked)
    assert client == []  # it would go on trying for half a minute


@pytest.mark.parametrize("load", [load_model, SentinelInfiller.load])
@pytest.mark.parametrize("status", [401, 404, 503])
def test_what_the_hub_answers_is_left_to_its_client(
    monkeypatch: pytest.MonkeyPatch, client: list[str], load: Any, status: int
) -> None:
    def answer(url: str) -> None:
        response: Any = SimpleNamespace(status_code=status, headers={}, request=None)
        raise HfHubHTTPError("no", response=response)

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", answer)
    with pytest.raises(ModelError, match="check the name and the network"):
        load(NAME)
    assert client == [NAME]


def test_offline_nothing_is_tried_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.time, "sleep", lambda _: pytest.fail("it waited"))
    with pytest.raises(ConnectionError, match="the hub cannot be reached"):
        hub.check_reachable(NAME, "")  # the tests run offline


def test_a_cached_model_needs_no_hub(asked: list[str], hub_cache: Path) -> None:
    root = hub_cache / "models--someone--cached"
    (root / "snapshots/0123").mkdir(parents=True)
    (root / "snapshots/0123/config.json").write_text("{}", encoding="utf-8")
    (root / "refs").mkdir()
    (root / "refs/main").write_text("0123", encoding="utf-8")
    try:
        hub.check_reachable("someone/cached", "")
        assert asked == []
        with pytest.raises(ConnectionError):
            hub.check_reachable("someone/cached", "v2")
    finally:
        shutil.rmtree(root)
