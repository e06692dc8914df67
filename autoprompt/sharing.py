"""How the processes of one search find each other: where its study is, and what it is about."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autoprompt.errors import InputError, RunDirectoryError, StorageError
from autoprompt.files import write_json
from autoprompt.runs import RunDirectory
from autoprompt.searching.addresses import ENVIRONMENT, HIDDEN, Address
from autoprompt.searching.heartbeat import LEAST_GRACE
from autoprompt.searching.storage import STUDY, Place

LONGEST_NAME = 40  # characters of a study's name that are taken from the run directory's


@dataclass(frozen=True)
class Plan:
    """What a worker must know of a search that it joins, kept in the study.

    Attributes:
        selection_examples: the most examples that prompts are compared on; None for all.
        grace: seconds without a sign of life after which a trial is run again.
        recipe, robustness: as `pipeline.search` takes them.
        origin: what task, space and model can be loaded by, as the creator's command line named
            them; empty where they were made in Python.
    """

    selection_examples: int | None
    grace: float
    recipe: str
    robustness: str
    origin: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Plan:
        """From the JSON form."""
        return cls(**record)


def check_grace(grace: float) -> None:
    """Refuse a time in which a living worker could be taken for dead.

    Raises:
        InputError: it is too short, or no time.
    """
    if not LEAST_GRACE <= grace < float("inf"):
        raise InputError(
            f"--grace must be {LEAST_GRACE:g} seconds or more, not {grace:g}: a worker that gives "
            f"no sign of life for so long is taken for dead"
        )


def run_place(run: RunDirectory, storage: str) -> Place:
    """Where the study of a run is; noted in the run, where that is a server.

    Args:
        run: the directory, locked by this process.
        storage: a URL, or "".

    Raises:
        StorageError: the URL cannot be used, or is needed and was not given.
        RunDirectoryError: the run was begun elsewhere.
    """
    known = _known(run)
    if known is not None:
        return _server_place(run, storage, *known)
    if not storage:
        return Place(Address.of_file(run.database), STUDY, str(run.path))
    if run.database.exists():
        raise RunDirectoryError(
            f"{run.path} keeps its study in its own study.db; go on with it without --storage, or "
            f"choose another --out"
        )
    address = Address.parse(storage)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", run.path.absolute().name).strip("-.")[:LONGEST_NAME]
    study = f"{name or 'run'}-{secrets.token_hex(4)}"
    write_json(run.storage, {"url": str(address), "study": study})
    return Place(address, study, f"{run.path} (study {study} at {address})")


def place_beside(run: RunDirectory, study: str, storage: str) -> Place:
    """Where another study is that belongs to a run: in the storage of its search.

    Args:
        run: the directory.
        study: the name.
        storage: a URL, or ""; only a run on a server with a password needs one.

    Raises:
        StorageError: the URL cannot be used, or is needed and was not given.
    """
    known = _known(run)
    if known is None:
        address = Address.of_file(run.database)
    else:
        address = _server_place(run, storage, *known).address
    return Place(address, study, f"{run.path} (study {study!r})")


def place_to_join(name: str, storage: str) -> tuple[Place, RunDirectory | None]:
    """Where the study is that a worker joins, and its run directory, where this host sees it.

    Args:
        name: the run directory; or, with a URL, the name of the study there.
        storage: a URL, or "".

    Raises:
        RunDirectoryError: there is no such run.
        StorageError: the URL cannot be used, or is needed and was not given.
    """
    run = RunDirectory(name)
    if run.path.is_dir():
        known = _known(run)
        if known is not None:
            return _server_place(run, storage, *known), run
        if run.database.is_file():
            return Place(Address.of_file(run.database), STUDY, str(run.path)), run
    if not storage:
        raise RunDirectoryError(
            f"no search to join at {name}; name the directory of a search that has begun, or, on "
            f"a host that does not see it, the study and its --storage"
        )
    address = Address.parse(storage)
    return Place(address, name, f"{name} at {address}"), None


def _server_place(run: RunDirectory, storage: str, url: str, study: str) -> Place:
    if not storage and f":{HIDDEN}@" in url:
        raise StorageError(
            f"the study of {run.path} is kept at {url}; passwords are not written down: give the "
            f"whole URL by --storage or {ENVIRONMENT}"
        )
    address = Address.parse(storage or url)
    return Place(address, study, f"{run.path} (study {study} at {address})")


def _known(run: RunDirectory) -> tuple[str, str] | None:
    """URL, without its password, and name of the study that a run keeps on a server."""
    if not run.storage.is_file():
        return None
    try:
        found = json.loads(Path(run.storage).read_text(encoding="utf-8"))
        url, study = found["url"], found["study"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunDirectoryError(
            f"{run.storage} is damaged ({error}); write into it "
            f'{{"url": "postgresql://...", "study": "NAME"}}, as the log of the run has them'
        ) from error
    if not isinstance(url, str) or not isinstance(study, str):
        raise RunDirectoryError(f"{run.storage} is damaged: url and study must be text")
    return url, study
