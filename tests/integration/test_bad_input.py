"""Wrong usage and input: one line with rule, value and way out; exit code 2; nothing written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_models
import tiny_t5
import transformers
from command_line import Ended, autoprompt
from filelock import FileLock

Search = Callable[..., Ended]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where a run would be written."""
    return tmp_path / "run"


def message(done: Ended) -> str:
    """The one line that a refusal is; what is said of a task before its model is loaded aside."""
    assert (done.code, done.out) == (2, ""), done
    lines = [line for line in done.err.splitlines() if not line.startswith("Task ")]
    assert len(lines) == 1, done.err
    assert lines[0].startswith("autoprompt: ")
    return lines[0].removeprefix("autoprompt: ")


def as_csv(rows: list[dict[str, str]]) -> str:
    return "text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in rows)


# -- data -------------------------------------------------------------------------------------

GOOD = "text,label\n" + "a good film,pos\na bad film,neg\n" * 8
DATA = {
    "empty": ("a.csv", b"", "a.csv holds no examples; a data file needs at least one row"),
    "empty jsonl": ("a.jsonl", b"\n\n", "a.jsonl holds no examples"),
    "header only": ("a.csv", b"text,label\n", "a.csv holds no examples"),
    "no text column": (
        "a.csv",
        GOOD.replace("text", "txet").encode(),
        "no text column that it knows in the columns txet, label; name the text with --text-column",
    ),
    "no label column": (
        "a.csv",
        GOOD.replace("label", "lable").encode(),
        "no label column in the columns text, lable; name it with --label-column",
    ),
    "one class": (
        "a.csv",
        GOOD.replace("neg", "pos").encode(),
        "examples have the label 'pos'; a task needs two labels at least",
    ),
    "an empty label": ("a.csv", f"{GOOD}good,\n".encode(), "a.csv, line 18: the label is empty"),
    "not UTF-8": (
        "a.csv",
        f"{GOOD}café,pos\n".encode("latin-1"),
        f"utf-8: byte {len(GOOD) + 3} is 0xe9; convert it, or name its encoding with --encoding",
    ),
    "a NUL byte": ("a.csv", f"{GOOD}a\0b,pos\n".encode(), "a.csv, line 18: holds a NUL byte"),
    "an open quote": ("a.csv", f'{GOOD}"good,pos\n'.encode(), "look for an unclosed quote"),
    "a lost cell": ("a.csv", f"{GOOD}good\n".encode(), "has 1 cells, the header 2 columns"),
    "broken JSON": (
        "a.jsonl",
        b'{"text": "a", "label": "b"}\n{"text',
        "line 2: not valid JSON",
    ),
    "an unknown ending": ("a.txt", GOOD.encode(), "cannot read .txt; valid endings: .jsonl, .csv"),
}


@pytest.mark.parametrize("case", DATA)
@pytest.mark.parametrize("verb", ["search", "init"])
def test_unusable_data(search: Search, tmp_path: Path, out: Path, case: str, verb: str) -> None:
    name, content, expected = DATA[case]
    data = tmp_path / name
    data.write_bytes(content)
    if verb == "search":
        done = search(out, "--task", data)
    else:
        done = autoprompt("init", "--task", data, "--out", out)
    assert expected in message(done)
    assert {*tmp_path.iterdir()} == {data}


def test_a_column_that_is_not_there(search: Search, tmp_path: Path, out: Path) -> None:
    data = tmp_path / "a.csv"
    data.write_text(GOOD, encoding="utf-8")
    found = message(search(out, "--task", data, "--text-column", "txt"))
    assert "no column 'txt'; did you mean 'text'? the columns are: text, label" in found
    assert not out.exists()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("absent.csv", "absent.csv does not exist; give a directory, a data file, or a sample"),
        ("sentimant", "unknown task (no such path, and no sample task) 'sentimant'; did you mean"),
    ],
)
def test_data_that_is_not_there(search: Search, out: Path, path: str, expected: str) -> None:
    assert expected in message(search(out, "--task", path))
    assert not out.exists()


def test_more_shots_than_a_label_has(search: Search, out: Path) -> None:
    found = message(search(out, "--k-shot", 9))
    assert "--k-shot 9 needs 18 distinct examples a label" in found
    assert "has 16; lower k or pass --allow-fewer" in found
    assert not out.exists()


def test_texts_in_two_splits_where_that_is_forbidden(
    search: Search, write_task: Callable[[Path], Path], tmp_path: Path, out: Path
) -> None:
    task = write_task(tmp_path / "task")
    shutil.copy(task / "train.jsonl", task / "test.jsonl")
    found = message(search(out, "--task", task, "--strict"))
    assert "32 texts of test stand in train too; drop them, or leave --strict out" in found
    assert not out.exists()


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_endings_and_marks_make_no_difference(
    tmp_path: Path, rows: list[dict[str, str]], ending: str, mark: str
) -> None:
    plain = as_csv(rows[:16])
    drafts = []
    for name, text in (("plain", plain), ("other", mark + plain.replace("\n", ending))):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "data.csv").write_bytes(text.encode())
        out = folder / "space.yaml"
        done = autoprompt("init", "--task", folder / "data.csv", "--out", out)
        assert (done.code, done.err) == (0, "")
        drafts.append(out.read_text(encoding="utf-8"))
    assert drafts[0] == drafts[1]


# -- spaces -----------------------------------------------------------------------------------

FIRST = "{neg: [terrible], pos: [great]}"
TEMPLATE = '"{text} it was {mask} ."'
SPACES = {
    "a label without words": (FIRST, "{pos: [great]}", "line 7: label 'neg' has no words"),
    "a word of two labels": (FIRST, "{neg: [great], pos: [Great]}", "stands for 'neg' too"),
    "a word twice": (FIRST, "{neg: [bad, bad], pos: [great]}", "stands twice for label 'neg'"),
    "words of no label": (FIRST, "{nag: [bad], pos: [great]}", "did you mean 'neg'?"),
    "no mask": (TEMPLATE, '"{text} it was"', "has 0 {mask} slots; it must have exactly one"),
    "two masks": (TEMPLATE, '"{text} {mask} {mask}"', "line 6: template '{text} {mask} {mask}'"),
    "an unknown field": (TEMPLATE, '"{txt} {mask}"', "unknown slot {txt}; did you mean 'text'?"),
    "no field": (TEMPLATE, '"it was {mask}"', "shows no field of the example; put one in"),
    "a stray brace": (TEMPLATE, '"{text} {mask} }"', "stray '}' at column 15"),
    "an index": (TEMPLATE, '"{text[0]} {mask}"', "{text[0]} at column 1"),
    "a key twice": ("name: tiny", "name: tiny\nname: tony", "'name' stands twice; keep one"),
    "a tag": ("name: tiny", "name: !!python/name:os.system tiny", "are not allowed"),
    "an unknown key": ("name: tiny", "name: tiny\nseed: 1", "did you mean 'seeds'?"),
    "no YAML": ("name: tiny", "name: {tiny", "not valid YAML"),
    "other labels": ("labels: [neg, pos]", "labels: [neg, pos, mid]", "no words"),
    "two system parts": (
        TEMPLATE,
        '"{system:}a{system:}b{user:}{text}{assistant:}{mask}"',
        "has 2 system parts; a chat is written {system:} (which may be left out), {user:},",
    ),
    "a mask outside of the assistant's part": (
        TEMPLATE,
        '"{user:}{text} {mask}{assistant:}so"',
        "has its {mask} outside of the assistant's part",
    ),
    "a part of no role": (
        TEMPLATE,
        '"{usr:}{text}{assistant:}{mask}"',
        "{usr:} at column 1 of template '{usr:}{text}{assistant:}{mask}' is not a slot",
    ),
    "a chat demanded, and none there": (
        "name: tiny",
        "name: tiny\nchat: required",
        "chat is required, but no template is a chat; write one, as in",
    ),
    "an unknown calibration": ("[none, contextual", "[none, contextal", "'contextal'; did you"),
}


@pytest.mark.parametrize("case", SPACES)
def test_unusable_spaces(search: Search, space: Path, tmp_path: Path, out: Path, case: str) -> None:
    old, new, expected = SPACES[case]
    text = space.read_text(encoding="utf-8")
    assert old in text
    bad = tmp_path / "bad.yaml"
    bad.write_text(text.replace(old, new, 1), encoding="utf-8")
    found = message(search(out, "--space", bad))
    assert found.startswith(f"{bad}, line ")
    assert expected in found
    assert not out.exists()


def test_an_empty_space(search: Search, tmp_path: Path, out: Path) -> None:
    (tmp_path / "bad.yaml").write_text("# nothing\n", encoding="utf-8")
    assert "bad.yaml is empty" in message(search(out, "--space", tmp_path / "bad.yaml"))
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sentimant", "unknown search space 'sentimant'; did you mean 'sentiment'? valid: nli, "),
        ("absent.yaml", "no search space at absent.yaml; check the path"),
        ("topic", "space 'topic' is for the labels"),
        ("nli", "space 'nli' needs the fields text_a, text_b; the task has text and lacks text_a"),
    ],
)
def test_the_wrong_space(search: Search, out: Path, name: str, expected: str) -> None:
    assert expected in message(search(out, "--space", name))
    assert not out.exists()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (TEMPLATE, f'"{"very " * 60}{{text}} {{mask}}"', "shorten it"),
        (FIRST, '{neg: ["\\U0001F3AC"], pos: [great]}', "seed prompt 1: "),
    ],
)
def test_a_seed_that_the_model_cannot_take(
    search: Search, space: Path, tmp_path: Path, out: Path, old: str, new: str, expected: str
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(space.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    assert expected in message(search(out, "--space", bad))
    assert not out.exists()


def test_chats_alone_for_a_masked_model(
    search: Search, space: Path, tmp_path: Path, out: Path
) -> None:
    text = space.read_text(encoding="utf-8")
    chat = '"{user:}{text}{assistant:}{mask}"'
    for template in (TEMPLATE, '"{mask} film : {text}"'):
        assert template in text
        text = text.replace(template, chat)
    (tmp_path / "bad.yaml").write_text(text, encoding="utf-8")
    found = message(search(out, "--space", tmp_path / "bad.yaml"))
    assert "is written as the messages of a chat, which only causal models are sent; take" in found
    assert not out.exists()


# -- models -----------------------------------------------------------------------------------


def headless(folder: Path) -> None:
    transformers.AutoModel.from_pretrained(folder, add_pooling_layer=False).save_pretrained(folder)


def for_images(folder: Path) -> None:
    transformers.ViTConfig().save_pretrained(folder)


def no_sentinels(folder: Path) -> None:
    shutil.rmtree(folder)
    tiny_t5.build(folder, sentinels=0)


def cut(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (headless, "lacks weights of its masked-LM head"),
        (for_images, "is a 'vit' model, which is no masked or causal or seq2seq language model"),
        (no_sentinels, "the tokenizer has neither sentinel tokens"),
        (cut, "damaged"),
        (no_config, "holds no config.json; it is not a model directory"),
        (pickled, "has pickled weights only (pytorch_model.bin)"),
        (shutil.rmtree, "no model directory at"),
    ],
)
def test_an_unusable_model(
    search: Search,
    model: Path,
    tmp_path: Path,
    out: Path,
    damage: Callable[[Path], None],
    expected: str,
) -> None:
    bad = shutil.copytree(model, tmp_path / "bad")
    damage(bad)
    found = message(search(out, "--model", bad))
    assert expected in found
    assert str(bad) in found
    assert not out.exists()


def test_a_packaged_model_named_as_its_folder(search: Search, out: Path) -> None:
    found = message(search(out, "--model", "embedded_causal"))
    assert "did you mean 'embedded-causal'?" in found
    assert not out.exists()


def test_a_device_that_is_not_there(search: Search, out: Path) -> None:
    found = message(search(out, "--device", "vulcan"))
    assert "cannot run on device 'vulcan'" in found
    assert not out.exists()


# -- options ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--trials", "1"], "--trials 1 is less than the 2 seed prompts"),
        (["--trials", "0"], "--trials must be greater than 0, not 0"),
        (["--forwards", "60"], "60 forwards may not suffice for the 2 seed prompts"),
        (["--forwards", "-5"], "--forwards must be greater than 0, not -5"),
        (["--seconds", "nan"], "--seconds must be greater than 0, not nan"),
        (["--budget", "quik"], "unknown budget 'quik'; did you mean 'quick'? valid: quick, stan"),
        (
            ["--metric", "macro-f1"],
            "'macro-f1'; did you mean 'macro_f1'? valid: accuracy, macro",
        ),
        (["--k-shot", "0"], "k must be at least 1, not 0"),
        (["--encoding", "utf-9"], "unknown encoding 'utf-9'; try utf-8 or latin-1"),
        (["--text-column", "a"] * 3, "--text-column may be given twice at most"),
    ],
)
def test_wrong_options(search: Search, out: Path, options: list[str], expected: str) -> None:
    assert expected in message(search(out, *options))
    assert not out.exists()


# -- run directories --------------------------------------------------------------------------


def test_a_run_that_is_a_file(search: Search, out: Path) -> None:
    out.write_text("mine", encoding="utf-8")
    assert "run is a file; name a directory for the run" in message(search(out))
    assert out.read_text(encoding="utf-8") == "mine"


def test_a_run_below_a_file(search: Search, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    found = message(search(tmp_path / "file" / "run"))
    assert f"{tmp_path / 'file'} is not a writable directory; choose another --out" in found


def test_a_place_that_cannot_be_written(
    search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: Path(p) != tmp_path and access(p, mode))
    found = message(search(tmp_path / "a/run"))
    assert f"cannot write a run to {tmp_path / 'a/run'}: {tmp_path} is not a writable" in found
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_turns_out_not_to_be_writable(
    search: Search, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert "cannot write a run to" in message(search(out))


@pytest.mark.parametrize("options", [[], ["--resume"]])
def test_a_directory_with_files_of_others(search: Search, out: Path, options: list[str]) -> None:
    out.mkdir()
    (out / "thesis.tex").write_text("mine", encoding="utf-8")
    found = message(search(out, *options))
    assert "holds files that are not of a run (thesis.tex); choose an empty" in found
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]


@pytest.fixture(scope="module")
def run(search: Search, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; do not write there."""
    run = tmp_path_factory.mktemp("run") / "run"
    assert search(run, trials=2).code == 0
    return run


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_that_is_there_already(search: Search, run: Path) -> None:
    before = contents(run)
    found = message(search(run))
    assert "holds a run already; pass --resume to go on with it, or choose another --out" in found
    assert contents(run) == before


def test_a_run_that_another_process_writes(search: Search, run: Path) -> None:
    before = contents(run)
    with FileLock(run / ".lock"):
        found = message(search(run, "--resume", trials=2))
    assert f"another process is writing {run}; wait for it, or choose another --out" in found
    assert contents(run) == before


# -- prompts ----------------------------------------------------------------------------------


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.csv"
    path.write_text("text,label\na good film,pos\n", encoding="utf-8")
    return path


def test_predictions_do_not_replace_a_file(run: Path, texts: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    kept.write_text("mine", encoding="utf-8")
    found = message(autoprompt("predict", run, "--data", texts, "--out", kept))
    assert f"{kept} exists; pass --force to replace it, or choose another file" in found
    assert kept.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("verb", ["predict", "score"])
def test_another_model_than_the_prompts(run: Path, texts: Path, tmp_path: Path, verb: str) -> None:
    other = tiny_models.build("bert", tmp_path / "other", seed=1)
    found = message(autoprompt(verb, run, "--data", texts, "--model", other))
    assert "another set of weights" in found
    assert "use the model it names, or search again on this one" in found


@pytest.mark.parametrize("verb", ["predict", "score"])
@pytest.mark.parametrize(
    ("prompt", "data", "expected"),
    [
        ("absent.json", "texts.csv", "cannot read prompt file"),
        (".", "texts.csv", "holds no best.json; finish its search with --resume"),
        ("texts.csv", "texts.csv", "not valid JSON"),
        ("RUN", "absent.csv", "cannot read data file"),
        ("RUN", "columns.csv", "no text column"),
    ],
)
def test_prompts_and_data_that_are_not_there(
    run: Path, texts: Path, tmp_path: Path, verb: str, prompt: str, data: str, expected: str
) -> None:
    (tmp_path / "columns.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    named = run if prompt == "RUN" else tmp_path / prompt
    assert expected in message(autoprompt(verb, named, "--data", tmp_path / data))


def test_labels_that_the_prompt_does_not_know(run: Path, texts: Path) -> None:
    texts.write_text("text,label\na good film,positive\n", encoding="utf-8")
    found = message(autoprompt("score", run, "--data", texts))
    assert "labels that the prompt does not know: positive; it knows neg, pos" in found


def test_a_prompt_that_was_edited(run: Path, texts: Path, tmp_path: Path) -> None:
    edited = json.loads((run / "best.json").read_text(encoding="utf-8"))
    edited["template"] = edited["template"].replace("{mask}", "very {mask}")
    (tmp_path / "edited.json").write_text(json.dumps(edited), encoding="utf-8")
    found = message(autoprompt("predict", tmp_path / "edited.json", "--data", texts))
    assert "does not fit its digest" in found


def test_standard_input_in_another_encoding(run: Path) -> None:
    found = message(autoprompt("predict", run, "--data", "-", stdin="café".encode("latin-1")))
    assert "standard input is not utf-8: byte 3 is 0xe9; convert it, or name its encoding" in found
    done = autoprompt(
        "predict", run, "--data", "-", "--encoding", "latin-1", stdin="café".encode("latin-1")
    )
    assert json.loads(done.out)["text"] == "café"
