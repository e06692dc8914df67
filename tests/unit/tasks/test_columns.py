"""Which column is which: guessed, described, or refused."""

import pytest

from autoprompt.errors import TaskError, UnknownNameError
from autoprompt.tasks.columns import Columns, read_description
from autoprompt.tasks.examples import Example
from autoprompt.tasks.reading import Row


@pytest.fixture
def describe(tmp_path):
    def described(text: str) -> Columns:
        (tmp_path / "task.yaml").write_text(text, encoding="utf-8")
        return read_description(tmp_path / "task.yaml")

    return described


def complete(*header: str, **known) -> Columns:
    return Columns(**known).completed(header, "train.csv")


def message_of(*header: str, **known) -> str:
    with pytest.raises(TaskError) as caught:
        complete(*header, **known)
    return str(caught.value)


@pytest.mark.parametrize(
    ("header", "fields"),
    [
        (["text", "label"], {"text": "text"}),
        (["id", "sentence", "label"], {"text": "sentence"}),
        (["text_a", "text_b", "label"], {"text_a": "text_a", "text_b": "text_b"}),
        (["label", "hypothesis", "premise"], {"text_a": "premise", "text_b": "hypothesis"}),
        (["question", "sentence", "label"], {"text_a": "question", "text_b": "sentence"}),
    ],
)
def test_fields_are_guessed_where_there_is_one_reading(header, fields):
    assert complete(*header).fields == fields


@pytest.mark.parametrize(
    "header",
    [
        ["text", "title", "label"],
        ["premise", "hypothesis", "text", "label"],
        ["sentence1", "sentence2", "premise", "hypothesis", "label"],
    ],
)
def test_two_readings_are_refused(header):
    message = message_of(*header)
    assert "train.csv: more than one reading in the columns" in message
    assert "name the text with --text-column" in message


def test_no_text_column_lists_the_columns():
    """BAD_INPUTS 2."""
    message = message_of("txt", "label")
    assert "train.csv: no text column that it knows in the columns txt, label" in message
    assert "or write a task.yaml with `fields`" in message


@pytest.mark.parametrize("column", ["label", "class", "sentiment", "target"])
def test_label_is_guessed(column):
    assert complete("text", column).label == column


def test_no_label_column_lists_the_columns():
    """BAD_INPUTS 2."""
    message = message_of("text", "stars")
    assert "no label column in the columns text, stars; name it with --label-column" in message


def test_two_label_columns_are_refused():
    assert "more than one label column in the columns" in message_of("text", "label", "category")


def test_unlabelled_data_needs_no_label():
    assert Columns().completed(["text"], "x.csv", labelled=False).fields == {"text": "text"}


@pytest.mark.parametrize("known", [{"fields": {"text": "revew"}}, {"label": "revew"}])
def test_missing_column_gets_the_nearest_and_the_list(known):
    """BAD_INPUTS 2."""
    message = message_of("review", "label", **known)
    assert message == (
        "train.csv: no column 'revew'; did you mean 'review'? the columns are: review, label"
    )


def test_header_of_long_texts_gives_a_short_message():
    """A file without a header has texts for column names."""
    message = message_of("a long review\nof two lines " * 1000, "pos")
    assert "\n" not in message
    assert len(message) < 400


def test_row_becomes_an_example():
    columns = complete("review", "stars", fields={"text": "review"}, label="stars")
    row = Row({"review": " Fine ", "stars": 4}, "x")
    assert columns.example(row) == Example({"text": " Fine "}, "4")
    assert columns.example(row, labelled=False) == Example({"text": " Fine "}, None)


def test_text_is_kept_as_it_stands():
    """BAD_INPUTS 20 and 21: only labels are normalised, and empty text is kept."""
    columns = complete("text", "label")
    for text in ("", " x\n", "e\u0301", "NA"):
        assert columns.example(Row({"text": text, "label": "a"}, "x")).fields == {"text": text}


@pytest.mark.parametrize("label", ["", "  ", "\n"])
def test_empty_label_names_its_row(label):
    """BAD_INPUTS 3."""
    with pytest.raises(TaskError, match=r"a\.csv, line 7: the label is empty; fill it or drop the"):
        complete("text", "label").example(Row({"text": "x", "label": label}, "a.csv, line 7"))


@pytest.mark.parametrize("values", [{"text": "x"}, {"text": "x", "label": float("nan")}])
def test_missing_label_names_its_row(values):
    """BAD_INPUTS 3."""
    with pytest.raises(TaskError, match="line 7: no value in column 'label'; fill it or drop"):
        complete("text", "label").example(Row(values, "a.jsonl, line 7"))


@pytest.mark.parametrize("raw", ["pose\u0301", " pos\u00e9", "pos\u00e9\n"])
def test_spellings_of_a_label_are_one_class(raw):
    """BAD_INPUTS 21."""
    row = Row({"text": "x", "label": raw}, "x")
    assert complete("text", "label").label_of(row) == "pos\u00e9"


def test_described_labels_are_renamed():
    columns = complete("text", "label", labels={"0": "neg", "1": "pos"})
    labels = [columns.label_of(Row({"label": value}, "x")) for value in (0, "1", 1.0, "pos")]
    assert labels == ["neg", "pos", "pos", "pos"]


def test_label_that_is_not_described_is_refused():
    """BAD_INPUTS 5."""
    columns = complete("text", "label", labels={"neg": "neg", "pos": "pos"})
    with pytest.raises(TaskError) as caught:
        columns.label_of(Row({"label": "poss"}, "a.csv, line 3"))
    assert str(caught.value) == (
        "a.csv, line 3: the label 'poss' is none of the task's; did you mean 'pos'? valid: neg, pos"
    )


def notes_on(*labels) -> list[str]:
    rows = [Row({"text": "x", "label": label}, "x") for label in labels]
    return complete("text", "label").spelling_notes(rows)


def test_numbers_and_texts_of_one_label_get_a_note():
    """BAD_INPUTS 14."""
    assert notes_on(1, "1", "0", 1) == [
        "the label '1' is written in 2 ways (1, '1'); they are read as one"
    ]


def test_composed_and_decomposed_accents_get_a_note():
    """BAD_INPUTS 21: the note shows what the screen does not."""
    (note,) = notes_on("pos\u00e9", "pose\u0301", "neg")
    assert "('pos\\xe9', 'pose\\u0301')" in note


def test_white_space_around_a_label_gets_a_note():
    assert len(notes_on("pos", " pos", "neg")) == 1


def test_labels_of_one_spelling_get_no_note():
    assert notes_on("pos", "neg", "pos", "Pos") == []


def test_description_is_read(describe):
    columns = describe(
        "name: stars\nfields: {text: review}\nlabel: stars\n"
        "labels: {1: bad, 5: good}\nmetric: macro_f1\n"
    )
    assert columns == Columns(
        {"text": "review"}, "stars", {"1": "bad", "5": "good"}, "macro_f1", "stars"
    )


def test_description_with_lists(describe):
    columns = describe("fields: [premise, claim]\nlabels: [no, yes]\n")
    assert columns.fields == {"premise": "premise", "claim": "claim"}
    assert columns.labels == {"no": "no", "yes": "yes"}  # BAD_INPUTS 37: not False and True


def test_every_key_of_a_description_is_optional(describe):
    assert describe("name: toy\n") == Columns(name="toy")


def test_described_labels_are_normalised(describe):
    assert describe("labels: ['e\u0301 ', x]\n").labels == {"\u00e9": "\u00e9", "x": "x"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "task.yaml is empty"),
        ("feilds: [text]\n", "line 1: a task has no key 'feilds'; did you mean 'fields'?"),
        ("name: a\nname: b\n", "line 2: the key 'name' stands twice"),
        ("labels: []\n", "line 1: labels must be a list with at least one entry"),
        ("labels: {a: [b]}\n", "line 1: labels must be text"),
        ("fields: {text: ''}\n", "line 1: fields must be text"),
        ("label: [a]\n", "line 1: label must be text"),
        ("- a\n", "a task must be a mapping"),
        ("label: !!python/name:os.system x\n", "line 1: tags"),
    ],
)
def test_bad_description_gives_file_and_line(describe, text, reason):
    """BAD_INPUTS 38 and 39, in task.yaml."""
    with pytest.raises(TaskError) as caught:
        describe(text)
    assert reason in str(caught.value)
    assert "task.yaml" in str(caught.value)


def test_unknown_metric_lists_the_valid(describe):
    with pytest.raises(UnknownNameError, match=r"'f1'; .*valid: accuracy, macro_f1, matthews"):
        describe("metric: f1\n")


DESCRIBED = Columns({"text": "review"}, "stars", {"1": "bad"}, "macro_f1", "described")


def test_what_columns_leave_open_is_described():
    assert Columns().over(DESCRIBED) == DESCRIBED


def test_named_fields_leave_the_rest_described():
    columns = Columns(fields={"text": "title"}).over(DESCRIBED)
    assert columns == Columns({"text": "title"}, "stars", {"1": "bad"}, "macro_f1", "described")


def test_names_of_labels_hold_for_their_own_column():
    assert Columns(label="polarity").over(DESCRIBED).labels == {}
    assert Columns(label="stars").over(DESCRIBED).labels == {"1": "bad"}


def test_named_metric_overrides_the_described():
    assert Columns(metric="matthews").over(DESCRIBED).metric == "matthews"
