"""`python -m experiments.soak.guided READER`: fuzzing that follows coverage, with atheris.

`pip install atheris` first (it wants CPython 3.11 to 3.13 on Linux). What follows the reader's name
goes to libFuzzer, as in `template -max_total_time=60`. The readers are those of `fuzz`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Instrument the package, and feed one reader until something escapes it."""
    import atheris

    with atheris.instrument_imports(include=["autoprompt"]):
        from autoprompt.errors import AutopromptError
        from experiments.soak.fuzz import readers

    known = {reader.name: reader for reader in readers()}
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name not in known:
        sys.exit(f"name one of: {', '.join(known)}")
    reader = known[name]
    folder = Path(tempfile.mkdtemp(prefix="autoprompt-guided-"))
    corpus, path = folder / "corpus", folder / "input" / f"input{reader.ending}"
    for directory in (corpus, path.parent):
        directory.mkdir()
    for number, valid in enumerate(reader.valid):
        (corpus / str(number)).write_bytes(valid)

    def feed(data: bytes) -> None:
        path.write_bytes(data)
        try:
            reader.read(path)
        except AutopromptError:
            return

    atheris.Setup([*sys.argv, str(corpus)], feed)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
