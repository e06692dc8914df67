"""The models that ship in the package, by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoprompt.errors import ModelError
from autoprompt.models import embedded
from autoprompt.models.embedded import EMBEDDED, EMBEDDED_CAUSAL, embedded_path, source_of


def test_each_has_a_folder_of_the_package() -> None:
    package = Path(embedded.__file__).parent
    assert {
        EMBEDDED: package / "embedded",
        EMBEDDED_CAUSAL: package / "embedded_causal",
    } == embedded.FOLDERS
    assert embedded_path() == embedded_path(EMBEDDED) == package / "embedded"


def test_a_name_that_is_not_of_the_package_is_its_own_source(causal_stand_in: Path) -> None:
    assert source_of(EMBEDDED_CAUSAL) == str(causal_stand_in)
    for name in ("gpt2", "embedded_causal", "/a/directory"):
        assert source_of(name) == name


def test_one_that_is_absent_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(embedded.FOLDERS, EMBEDDED_CAUSAL, tmp_path)
    assert not embedded.is_installed(EMBEDDED_CAUSAL)
    for ask in (embedded_path, source_of):
        with pytest.raises(ModelError, match="lacks the model 'embedded-causal'"):
            ask(EMBEDDED_CAUSAL)
