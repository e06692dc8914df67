"""A disk that fills up in the middle of a search: a clear error, and what was finished is kept."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Ended, command, environment
from run_files import reproducible

from autoprompt.files import write_atomically

# A limit on the size of any one file is how a test without a disk of its own has a full one. The
# study of this search grows to about 400 KiB.
LIMITS = (60, 200, 300)


@pytest.mark.parametrize(
    "kibibytes", [LIMITS[1], *(pytest.param(n, marks=pytest.mark.slow) for n in LIMITS[::2])]
)
def test_a_full_disk_loses_nothing(
    arguments: Callable[..., list[str]],
    search: Callable[..., Ended],
    tmp_path: Path,
    kibibytes: int,
) -> None:
    whole, run = tmp_path / "whole" / "run", tmp_path / "full" / "run"
    assert search(whole, trials=6).code == 0

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (kibibytes * 1024, kibibytes * 1024))

    full = subprocess.run(
        command(*arguments(run, trials=6)),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
    )
    last = full.stderr.strip().splitlines()[-1]
    assert full.returncode in (1, 2), full.stderr
    assert full.stdout == ""
    assert "Traceback" not in full.stderr
    assert last.startswith("autoprompt: ")
    assert str(run) in last
    assert "cannot write" in last or "is damaged or not a study" in last
    assert not (run / "best.json").exists()
    done = search(run, "--resume", trials=6)
    assert done.code == 0, done.err
    assert reproducible(run) == reproducible(whole)


def test_a_file_that_cannot_be_replaced_keeps_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "best.json"
    path.write_text("old", encoding="utf-8")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ValueError, match="No space left on device; choose another place or free"):
        write_atomically(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["best.json"]
