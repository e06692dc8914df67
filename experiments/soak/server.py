"""A PostgreSQL server of one's own, for tests and soaks, from Debian's package `postgresql`."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

USER = "autoprompt"
PASSWORD = "p@ss/w:rd{%}"  # all that an address must get right
MISSING = "no PostgreSQL here: apt-get install postgresql, and run as root or any plain user"


def programs() -> Path | None:
    """The directory of the server's programs; None where it is not installed."""
    places = [*Path("/usr/lib/postgresql").glob("*/bin"), Path("/usr/local/bin"), Path("/usr/bin")]
    found = [place for place in places if (place / "initdb").is_file()]
    return max(found, default=None, key=lambda place: place.parts)


class Server:
    """A server that can be stopped and started."""

    def __init__(self, folder: Path, bin_directory: Path, port: int) -> None:
        self.folder, self._bin, self.port = folder, bin_directory, port

    def url(self, database: str = "postgres", password: str = PASSWORD) -> str:
        """An address of it, password included."""
        return f"postgresql://{USER}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        """Make a database; returns its address."""
        import psycopg

        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}"')
        return self.url(database)

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        options = (
            f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off "
            f"-c shared_buffers=32MB -c max_connections=60"
        )
        log = self.folder / "log.txt"
        self._run("pg_ctl", "-w", "-D", self.folder / "data", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        """Stop it at once: connections are cut."""
        self._run("pg_ctl", "-w", "-D", self.folder / "data", "-m", "immediate", "stop")

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def initialise(self) -> None:
        """Make its files."""
        secret = self.folder / "password"
        secret.write_text(PASSWORD, encoding="utf-8")
        self._run("initdb", "-D", self.folder / "data", "-U", USER, "-A", "scram-sha-256",
                  f"--pwfile={secret}", "--encoding=UTF8", "--no-locale", "--no-sync")  # fmt: skip

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self._bin / program), *map(str, arguments)]
        if os.getuid() == 0:  # the server refuses to be root
            shutil.chown(self.folder, "postgres")
            for path in self.folder.glob("*"):
                shutil.chown(path, "postgres")
            command = ["runuser", "-u", "postgres", "--", *command]
        subprocess.run(
            command,
            check=True,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@contextmanager
def serving() -> Iterator[Server]:
    """A server that runs while the context lasts."""
    found = programs()
    assert found is not None, MISSING
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="autoprompt-pg-"))
    server = Server(folder, found, port)
    try:
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
