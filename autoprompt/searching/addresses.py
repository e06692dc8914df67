"""Where a study is kept: the run's own SQLite file, or a database server that many hosts reach.

An address may hold a password. It goes to the database driver and nowhere else: whatever is
printed, logged or written shows `***` in its place.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

import sqlalchemy
from sqlalchemy.engine import URL

from autoprompt.errors import StorageError, listing

ENVIRONMENT = "AUTOPROMPT_STORAGE"
HIDDEN = "***"
SECRET = re.compile("passw", re.IGNORECASE)  # in names of options
SQLITE = "sqlite"
DRIVERS = {  # a backend's name: the driver that the extra brings, and the extra
    "postgresql": ("psycopg", "postgres"),
    "mysql": ("pymysql", "mysql"),
    "mariadb": ("pymysql", "mysql"),
}
CONNECT_SECONDS = 10


@dataclass(frozen=True)
class Address:
    """A place for studies.

    Attributes:
        url: as SQLAlchemy takes it, driver included. It may hold a password: never print it.
    """

    url: URL

    @classmethod
    def parse(cls, text: str) -> Address:
        """The address that a user wrote.

        Args:
            text: such as `postgresql://user:password@host:5432/database`.

        Raises:
            StorageError: it is no URL, of no known kind, or its driver is not installed. The
                message shows no password.
        """
        kind = text.split(":", 1)[0].split("+", 1)[0].strip().lower()
        if kind == SQLITE:
            raise StorageError(
                "--storage is for a database server; a run keeps its own SQLite file, study.db, "
                "which workers on the same host join without it: leave --storage out"
            )
        if kind not in DRIVERS:
            raise StorageError(
                f"--storage must be a URL that begins with one of {listing(sorted(DRIVERS))} and "
                f"'://', as in postgresql://user@host/database"
            )
        try:
            text.encode("utf-8")  # half a surrogate pair is no part of a URL
            url = sqlalchemy.make_url(text.strip())
        except (sqlalchemy.exc.ArgumentError, ValueError):
            # The reason is left out: it may repeat the URL, and with it the password.
            raise StorageError(
                f"--storage begins with {kind!r} but is no URL; write it as "
                f"{kind}://user:password@host:port/database, with special characters of the "
                f"password percent-encoded"
            ) from None
        for key in ("password", "passwd"):  # where it would not be hidden
            if key in url.query:
                given = url.query[key]
                password = given if isinstance(given, str) else given[-1]
                url = url.difference_update_query([key]).set(password=password)
        shown = without_query_secrets(url.render_as_string())
        if not url.database or (not url.host and "host" not in url.query):
            raise StorageError(
                f"--storage {shown} names no host or no database; write it as "
                f"{kind}://user:password@host:port/database"
            )
        driver, extra = DRIVERS[kind]
        wanted = url.drivername.partition("+")[2] or driver
        if importlib.util.find_spec(wanted) is None:
            raise StorageError(
                f"--storage {shown} needs the package {wanted!r}, which is not "
                f"installed; pip install 'autoprompt[{extra}]'"
            )
        backend = "mysql" if kind == "mariadb" else kind  # Optuna knows it by that name
        return cls(url.set(drivername=f"{backend}+{wanted}"))

    @classmethod
    def of_file(cls, database: Path) -> Address:
        """The address of an SQLite file, whatever characters its path holds."""
        name = f"file:{quote(str(database.absolute()))}"
        return cls(URL.create(SQLITE, database=name, query={"uri": "true"}))

    @property
    def is_server(self) -> bool:
        """Whether it is reached over a network, and by more than the host it was written on."""
        return self.url.get_backend_name() != SQLITE

    @property
    def secret(self) -> str:
        """The URL with its password; for the driver alone."""
        return self.url.render_as_string(hide_password=False)

    def __str__(self) -> str:
        if not self.is_server:
            return unquote(str(self.url.database)).removeprefix("file:")
        return without_query_secrets(self.url.render_as_string(hide_password=True))

    def __repr__(self) -> str:
        return f"Address({self})"

    def without_secrets(self, text: str) -> str:
        """A text in which the password, plain or as it stands in the URL, is hidden."""
        secrets = [str(self.url.password)] if self.url.password else []
        for key, given in self.url.query.items():
            if SECRET.search(key):
                secrets += [given] if isinstance(given, str) else given
        known = {form for one in secrets for form in (one, quote(one, safe=""), quote(one))}
        for part in sorted(known, key=len, reverse=True):
            text = text.replace(part, HIDDEN)
        return text


def without_password(argument: str) -> str:
    """A command-line argument as it may be written down: a URL's password is hidden.

    >>> without_password("postgresql://me:secret@host/db")
    'postgresql://me:***@host/db'
    """
    head, mark, rest = argument.partition("://")
    if not mark:
        return argument
    before, query, options = rest.partition("?")
    user, at, place = before.rpartition("@")
    name, colon, _ = user.partition(":")
    shown = f"{head}://{name}{colon and colon + HIDDEN}{at}{place}{query}{options}"
    return without_query_secrets(shown)


def without_query_secrets(url: str) -> str:
    """A URL in whose query no value of a secret's name is shown.

    >>> without_query_secrets("postgresql://host/db?sslpassword=secret&sslmode=require")
    'postgresql://host/db?sslpassword=***&sslmode=require'
    """
    return re.sub(rf"([?&][^=&]*{SECRET.pattern}[^=&]*=)[^&]*", rf"\1{HIDDEN}", url, flags=re.I)
