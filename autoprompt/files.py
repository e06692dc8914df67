"""Writing files so that no reader ever sees half of one, and digests of values and files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from autoprompt.errors import InputError


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace `path` by `content` in one step: temporary file, fsync, `os.replace`.

    Raises:
        InputError: the file cannot be written (the old file is untouched).
    """
    try:
        data = content.encode("utf-8") if isinstance(content, str) else content
    except UnicodeEncodeError as error:
        raise InputError(
            f"cannot write {path}: its text holds half a surrogate pair, which UTF-8 cannot; "
            f"mend the text"
        ) from error
    temporary: str | None = None
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes it private; results are for colleagues too
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise InputError(
            f"cannot write {path}: {error.strerror}; choose another place or free some space"
        ) from error


def write_json(path: Path, value: Any) -> None:
    """Write `value` as readable JSON, atomically. NaN is refused: it is not JSON."""
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def digest(value: Any) -> str:
    """SHA-256 (first 16 hex digits) of a JSON value, independent of the order of keys."""
    text = json.dumps(
        value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    )
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def digest_of_file(path: Path) -> str:
    """SHA-256 (first 16 hex digits) of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:16]


def read_bytes(path: Path, what: str) -> bytes:
    """The bytes of a file that a user named.

    Args:
        path: the file.
        what: its role in the message, for example "task file".

    Raises:
        InputError: it does not exist, is a directory, or cannot be read.
    """
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise InputError(f"cannot read {what} {path}: {reason}; check the path") from error


def read_text(path: Path, what: str) -> str:
    """The UTF-8 text of a file that a user named; a byte-order mark is dropped.

    Raises:
        InputError: it cannot be read, or is not UTF-8 (the message gives the byte offset).
    """
    try:
        return read_bytes(path, what).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{what} {path} is not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}; "
            f"convert the file to UTF-8"
        ) from error
