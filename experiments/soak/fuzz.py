"""`python -m experiments.soak.fuzz`: rubbish for every reader and parser.

Valid inputs are mutated (bytes flipped, parts cut, doubled and spliced, strange tokens put in) and
read. A reader may take an input or raise an `AutopromptError`; anything else is a fault, and so is
an input that takes more than some seconds. The inputs follow from the seed.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas

from autoprompt.errors import AutopromptError, InputError
from autoprompt.lineage import Edit
from autoprompt.prompts import Prompt
from autoprompt.runs import RunDirectory, held_out_of
from autoprompt.searching.addresses import Address, without_password
from autoprompt.searching.kept_scores import unpacked
from autoprompt.sharing import place_to_join
from autoprompt.spaces import SearchSpace, shipped_spaces
from autoprompt.tasks.columns import read_description
from autoprompt.tasks.reading import read_rows
from autoprompt.tasks.task import Task
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer

INPUTS = 10_000  # a reader
SLOWEST = 10  # seconds that an input may take
TABLE = [
    ("a good film, truly", "pos"),
    ('she said "no"', "neg"),
    ("", "pos"),
    ("čaj\u2028x", "neg"),
    ("=1+1", "pos"),
    ("null", "neg"),
]
TOKENS = [
    *"\0\n\r\t,;\"'\\{}[]()<>%$&*!?|#@`~^=+-_:./ ",
    *"\ufeff\u2028\u2029\x85\u200b\u202e\u0301\U0001f600\ud800\uffff",
    *(
        "null",
        "NaN",
        "Infinity",
        "-0",
        "1e999",
        "0x1f",
        "010",
        "1_0",
        "yes",
        "no",
        "~",
        "2026-01-01",
    ),
    *("{mask}", "{text}", "{trigger:3}", "{trigger:99999999999}", "{demonstrations}", "{user:}"),
    *("{text.__class__}", "{text[0]}", "{0}", "{}", "{{", "}}", "[MASK]", "<mask>", "<extra_id_0>"),
    *("!!python/object/apply:os.system [id]", "&a [*a, *a]", "<<: *a", "---", "...", "!!binary"),
    *("../../etc/passwd", "file:///etc/passwd", "%00", "' OR 1=1 --", "<script>alert(1)</script>"),
    *('"' * 9, "[" * 300, "{a: " * 200, "- " * 200, "\\u0000", "\\ud800", "9" * 400, " " * 200),
]


@dataclass(frozen=True)
class Reader:
    """Something that reads what people or other programs wrote.

    Attributes:
        name: shown in the report.
        valid: inputs that it takes.
        read: reads one, from a file whose folder is its own.
        ending: of the file's name.
    """

    name: str
    valid: Sequence[bytes]
    read: Callable[[Path], Any]
    ending: str = ".txt"


def mutated(valid: Sequence[bytes], draw: random.Random) -> bytes:
    """A valid input with up to eight changes; now and then pure noise."""
    if draw.random() < 0.03:
        return draw.randbytes(draw.randrange(200))
    data = bytearray(draw.choice(valid))
    for _ in range(draw.randint(1, 8)):
        place = draw.randrange(len(data) + 1)
        size = min(draw.choice((1, 1, 2, 4, 16, 64)), len(data) - place)
        kind = draw.randrange(7)
        if kind == 0 and data:
            data[place % len(data)] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del data[place : place + size]
        elif kind == 2:
            data[place:place] = data[place : place + size] * draw.choice((1, 2, 50))
        elif kind == 3:
            data[place : place + size] = draw.choice(TOKENS).encode("utf-8", "surrogatepass")
        elif kind == 4:
            data[place:place] = draw.choice(TOKENS).encode("utf-8", "surrogatepass")
        elif kind == 5:
            other = draw.choice(valid)
            start = draw.randrange(len(other) + 1)
            data[place : place + size] = other[start : start + draw.randrange(80)]
        elif draw.random() < 0.3:
            del data[place:]
    return bytes(data)


def faults_of(reader: Reader, inputs: int, seed: int) -> list[str]:
    """Feed a reader; returns what went wrong, at most a few of each kind."""
    draw = random.Random(f"{seed} {reader.name}")
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="autoprompt-fuzz-") as place:
        path = Path(place) / f"input{reader.ending}"
        for number in range(inputs):
            data = mutated(reader.valid, draw)
            path.write_bytes(data)
            signal.alarm(SLOWEST)
            try:
                reader.read(path)
            except AutopromptError as error:
                if not str(error).strip():
                    found.setdefault("no message", f"input {number}: {data[:300]!r}")
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                frame = traceback.extract_tb(error.__traceback__)[-1]
                kind = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"
                found.setdefault(kind, f"input {number}: {error!s:.200} {data[:300]!r}")
            finally:
                signal.alarm(0)
    return [f"{kind}: {example}" for kind, example in found.items()]


# -- the readers ----------------------------------------------------------------------------------


def delimited(separator: str) -> bytes:
    """A small table with everything that needs quoting."""
    frame = pandas.DataFrame(TABLE, columns=["text", "label"])
    return bytes(frame.to_csv(index=False, sep=separator).encode())


def json_lines() -> bytes:
    """The same table."""
    rows = [json.dumps({"text": text, "label": label}) for text, label in TABLE]
    return "\n".join([*rows, json.dumps({"text": "a", "label": 1, "n": [1, {"a": None}]})]).encode()


def parquet() -> bytes:
    """The same table."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "a.parquet"
        pandas.DataFrame(TABLE, columns=["text", "label"]).to_parquet(path)
        return path.read_bytes()


def prompts() -> list[bytes]:
    """Prompt files of several shapes."""
    words = Verbalizer.of({"neg": ["bad"], "pos": ["very good", "fine"]}, aggregation="mean")
    edits = (Edit("seed prompt 1", "{text} {mask}", {"neg": ("bad",), "pos": ("fine",)}),)
    plain = Prompt(Template.parse("{text} it was {mask}."), words, lineage=edits)
    scored = plain.with_scores("dev", {"accuracy": {"value": 0.5, "low": 0.1, "high": 0.9}}, "abc")
    other = replace(plain, template=Template.parse("{text_a} ? {mask} , {text_b}"), seed=3)
    return [json.dumps(prompt.to_dict()).encode() for prompt in (plain, scored, other)]


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "surrogateescape")


def _load_task(path: Path) -> None:
    Task.load(path, k_shot=None)


def _load_description(path: Path) -> None:
    read_description(path)


def _load_space(path: Path) -> None:
    space = SearchSpace.load(str(path))
    space.restricted(space.fields, space.labels or ("neg", "pos"))
    space.fingerprint()


def _parse_template(path: Path) -> None:
    template = Template.parse(_text(path))
    assert Template.parse(template.text) == template


def _load_prompt(path: Path) -> None:
    prompt = Prompt.load(path)
    assert Prompt.from_dict(json.loads(json.dumps(prompt.to_dict()))).digest == prompt.digest


def _parse_words(path: Path) -> None:
    try:
        words = json.loads(_text(path))
    except (ValueError, RecursionError):
        raise InputError("no JSON") from None
    if not isinstance(words, dict) or not all(isinstance(v, list) for v in words.values()):
        raise InputError("no words")
    if not all(isinstance(word, str) for group in words.values() for word in group):
        raise InputError("no words")
    Verbalizer.of(words)


def _parse_address(path: Path) -> None:
    text = _text(path)
    without_password(text)
    Address.parse(text)


def _read_run(path: Path) -> None:
    run = RunDirectory(path.parent)
    run.scores.mkdir(exist_ok=True)
    data = path.read_bytes()
    (run.scores / "a.npz").write_bytes(data)
    run.config.write_bytes(data)
    run.held_out.write_bytes(data)
    run.storage.write_bytes(data)
    run.read_scores("a")
    run.read_config()
    run.neighbours_test_reads("abc")
    unpacked(data.decode("latin-1"))
    for read in (
        lambda: held_out_of(run.path, Prompt.from_dict(json.loads(prompts()[0]))),
        lambda: place_to_join(str(run.path), ""),
    ):
        try:
            read()
        except AutopromptError:
            continue


def readers() -> list[Reader]:
    """Every reader, with inputs that it takes."""
    spaces = [path.read_bytes() for path in shipped_spaces().values()]
    description = (
        b"name: reviews\nfields: {text: body}\nlabel: stars\n"
        b'labels: {"0": negative, "1": positive}\nmetric: macro_f1\n'
    )
    templates = [
        b"{text} it was {mask}.",
        b"{trigger:3} {text} {{literal}} {mask} {demonstrations}",
        b"{system:}You judge.{user:}{text}{assistant:}So: {mask}",
        "{text} — čaj 😀 {mask}".encode(),
    ]
    urls = [
        b"postgresql://me:pa%2Fss@host:5432/db?sslmode=require",
        b"mysql+pymysql://me@[::1]:3306/db",
        b"mariadb://host/db?password=x",
    ]
    run_files = [
        b'{"url": "postgresql://me:***@host/db", "study": "run-1"}',
        b'{"split": "abc", "fields": ["text"], "digests": ["00"], "elsewhere": []}',
        b'{"selection_examples": 7, "earlier": []}',
    ]
    return [
        Reader("csv", [delimited(",")], _load_task, ".csv"),
        Reader("tsv", [delimited("\t")], _load_task, ".tsv"),
        Reader("jsonl", [json_lines()], _load_task, ".jsonl"),
        Reader("parquet", [parquet()], _load_task, ".parquet"),
        Reader(
            "rows in latin-1", [delimited(",")], lambda path: read_rows(path, "latin-1"), ".csv"
        ),
        Reader("task.yaml", [description], _load_description, ".yaml"),
        Reader("search space", spaces, _load_space, ".yaml"),
        Reader("template", templates, _parse_template),
        Reader("prompt file", prompts(), _load_prompt, ".json"),
        Reader("label words", [b'{"neg": ["bad"], "pos": ["very good", "ok"]}'], _parse_words),
        Reader("storage address", urls, _parse_address),
        Reader("run directory", run_files, _read_run, ".json"),
    ]


def _too_slow(*_: object) -> None:
    raise TimeoutError(f"more than {SLOWEST} seconds")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, feed the readers, report."""
    parser = argparse.ArgumentParser(description="Feed rubbish to every reader and parser.")
    parser.add_argument("--inputs", type=int, default=INPUTS, help="for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", help="names of readers")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGALRM, _too_slow)
    failed = 0
    for reader in readers():
        if options.only and reader.name not in options.only:
            continue
        found = faults_of(reader, options.inputs, options.seed)
        failed += len(found)
        print(f"{reader.name}: {options.inputs:,} inputs, {len(found)} faults", flush=True)
        for line in found:
            print(f"  {line}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
