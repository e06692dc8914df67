"""Loading a task from a directory, a file, or by a sample's name."""

import json
from collections import Counter
from dataclasses import replace

import pandas
import pytest

from autoprompt.errors import InputError, TaskError, UnknownNameError
from autoprompt.tasks.columns import Columns
from autoprompt.tasks.examples import Example
from autoprompt.tasks.task import Task, load_examples, sample_tasks


def rows(start: int, stop: int, labels=("neg", "pos")) -> list[dict]:
    return [
        {"text": f"{label} {i}", "label": label} for i in range(start, stop) for label in labels
    ]


@pytest.fixture
def save(tmp_path):
    """Writes files into one directory, the task's, and gives the directory."""

    def write(**files):
        for name, content in files.items():
            if isinstance(content, str):
                (tmp_path / f"{name}.yaml").write_text(content, encoding="utf-8")
            else:
                text = "".join(json.dumps(row) + "\n" for row in content)
                (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")
        return tmp_path

    return write


def labels_of(examples) -> Counter:
    return Counter(example.label for example in examples)


def message_of(path, **options) -> str:
    with pytest.raises(TaskError) as caught:
        Task.load(path, **options)
    return str(caught.value)


def test_directory_with_three_files(save):
    task = Task.load(save(train=rows(0, 8), dev=rows(8, 12), test=rows(12, 20)))
    assert [len(split) for split in task.splits.values()] == [16, 8, 16]
    assert (task.fields, task.labels, task.metric) == (("text",), ("neg", "pos"), "accuracy")
    assert task.notes == ()


def test_train_and_test_keep_the_order_of_their_files(save):
    task = Task.load(save(train=rows(0, 8), dev=rows(8, 12), test=rows(12, 20)))
    assert [e.fields["text"] for e in task.train] == [row["text"] for row in rows(0, 8)]
    assert [e.fields["text"] for e in task.test] == [row["text"] for row in rows(12, 20)]


def test_dev_is_ordered_so_that_each_block_is_balanced(save):
    dev = sorted(rows(8, 16), key=lambda row: row["label"])
    task = Task.load(save(train=rows(0, 8), dev=dev, test=rows(16, 20)))
    assert labels_of(task.dev[:8]) == {"neg": 4, "pos": 4}


def test_missing_splits_are_split_off(save):
    task = Task.load(save(train=rows(0, 40)))
    assert [labels_of(split)["neg"] for split in task.splits.values()] == [20, 10, 10]
    texts = [example.key for split in task.splits.values() for example in split]
    assert len(texts) == len(set(texts)) == 80


def test_missing_dev_leaves_the_test_file_alone(save):
    task = Task.load(save(train=rows(0, 20), test=rows(20, 30)))
    assert [e.fields["text"] for e in task.test] == [row["text"] for row in rows(20, 30)]
    assert len(task.train) + len(task.dev) == 40


def test_single_file_gives_three_splits(tmp_path):
    path = tmp_path / "reviews.csv"
    pandas.DataFrame(rows(0, 40)).to_csv(path, index=False)
    task = Task.load(path)
    assert task.name == "reviews"
    assert [len(split) for split in task.splits.values()] == [40, 20, 20]
    assert all(len(labels_of(split)) == 2 for split in task.splits.values())


def test_file_formats_can_be_mixed(save):
    directory = save(train=rows(0, 8), dev=rows(8, 12))
    pandas.DataFrame(rows(12, 16)).to_csv(directory / "test.tsv", sep="\t", index=False)
    pandas.DataFrame(rows(8, 12)).to_parquet(directory / "dev.parquet")
    (directory / "dev.jsonl").unlink()
    assert [len(split) for split in Task.load(directory).splits.values()] == [16, 8, 8]


def test_two_files_for_one_split_are_refused(save):
    directory = save(train=rows(0, 8))
    (directory / "train.csv").write_text("text,label\n")
    assert "two files for train: train.jsonl, train.csv" in message_of(directory)


def test_directory_without_train_is_refused(save):
    message = message_of(save(dev=rows(0, 8)))
    assert "has no train file; expected one of train.jsonl, train.csv, train.tsv" in message


def test_same_seed_draws_the_same_splits(save):
    directory = save(train=rows(0, 40))
    assert Task.load(directory, seed=0) == Task.load(directory, seed=0)
    assert Task.load(directory, seed=0).digests() != Task.load(directory, seed=1).digests()


def test_k_shot_draws_train_and_dev_from_the_train_file(save):
    task = Task.load(
        save(train=rows(0, 40), dev=rows(40, 60), test=rows(60, 70)), k_shot=4, seed=13
    )
    assert labels_of(task.train) == labels_of(task.dev) == {"neg": 4, "pos": 4}
    train_file = {row["text"] for row in rows(0, 40)}
    assert {e.fields["text"] for e in task.train + task.dev} <= train_file
    assert len(task.test) == 20


def test_k_shot_without_a_test_file_is_disjoint_from_test(save):
    task = Task.load(save(train=rows(0, 40)), k_shot=4)
    keys = [{example.key for example in split} for split in task.splits.values()]
    assert len(set.union(*keys)) == sum(map(len, keys)) == 8 + 8 + 20


def test_k_shot_too_large_is_refused(save):
    """BAD_INPUTS 18."""
    message = message_of(save(train=rows(0, 7), test=rows(7, 9)), k_shot=4)
    assert "--k-shot 4 needs 8 distinct examples a label" in message


def test_allow_fewer_is_handed_on(save):
    """BAD_INPUTS 18."""
    task = Task.load(save(train=rows(0, 7), test=rows(7, 9)), k_shot=4, allow_fewer=True)
    assert labels_of(task.train) == {"neg": 3, "pos": 3}


def test_one_class_is_refused(save):
    """BAD_INPUTS 4."""
    directory = save(train=rows(0, 8, labels=["pos"]))
    assert message_of(directory).startswith(
        f"{directory}: all train examples have the label 'pos'; a task needs two labels at least"
    )


def test_empty_label_names_file_and_line(save):
    """BAD_INPUTS 3."""
    message = message_of(save(train=[*rows(0, 1), {"text": "x", "label": " "}]))
    assert "train.jsonl, line 3: the label is empty" in message


def test_missing_column_of_a_later_file_names_that_file(save):
    """BAD_INPUTS 2."""
    dev = [{"text": "x", "lable": "pos"}]
    message = message_of(save(train=rows(0, 8), dev=dev))
    assert "dev.jsonl: no column 'label'; did you mean 'lable'? the columns are: text, lable" in (
        message
    )


def test_label_that_train_lacks_is_named(save):
    """BAD_INPUTS 5."""
    message = message_of(save(train=rows(0, 8), dev=rows(8, 10, labels=["neg", "mid"])))
    assert "dev has labels that train lacks: mid; train has neg, pos" in message


def test_described_label_without_examples_is_named(save):
    """BAD_INPUTS 5, the reverse."""
    message = message_of(save(train=rows(0, 8), task="labels: [neg, mid, pos]\n"))
    assert "no train example has the label mid; add some, or take the label out" in message


def test_labels_are_sorted_unless_described(save):
    directory = save(train=rows(0, 8, labels=["pos", "neg"]))
    assert Task.load(directory).labels == ("neg", "pos")
    assert Task.load(save(task="labels: [pos, neg]\n")).labels == ("pos", "neg")


def test_description_is_used(save):
    train = [{"review": f"r{i}", "stars": i % 2, "id": i} for i in range(16)]
    description = (
        "name: Stars\nfields: {text: review}\nlabel: stars\nlabels: {0: bad, 1: good}\n"
        "metric: matthews\n"
    )
    task = Task.load(save(train=train, task=description))
    assert (task.name, task.fields, task.labels, task.metric) == (
        "Stars",
        ("text",),
        ("bad", "good"),
        "matthews",
    )


def test_named_column_overrides_its_part_of_the_description_only(save):
    train = [{"review": f"r{i}", "title": f"t{i}", "stars": i % 2, "label": "x"} for i in range(16)]
    description = (
        "fields: {text: review}\nlabel: stars\nlabels: {0: bad, 1: good}\nmetric: macro_f1\n"
    )
    task = Task.load(save(train=train, task=description), columns=Columns(fields={"text": "title"}))
    assert task.train[0].fields["text"].startswith("t")
    assert (task.labels, task.metric) == (("bad", "good"), "macro_f1")


def test_named_label_column_leaves_the_described_fields(save):
    train = [{"review": f"r{i}", "stars": i, "polarity": "ab"[i % 2]} for i in range(16)]
    description = "fields: {text: review}\nlabel: stars\n"
    task = Task.load(save(train=train, task=description), columns=Columns(label="polarity"))
    assert (task.fields, task.labels) == (("text",), ("a", "b"))


def test_directory_gives_the_name(save, tmp_path, monkeypatch):
    directory = tmp_path / "sst2-v1.5"
    directory.mkdir()
    save(train=rows(0, 8))
    (tmp_path / "train.jsonl").rename(directory / "train.jsonl")
    assert Task.load(directory).name == "sst2-v1.5"
    monkeypatch.chdir(directory)
    assert Task.load(".").name == "sst2-v1.5"


def test_leaks_are_noted(save):
    """BAD_INPUTS 15."""
    task = Task.load(save(train=rows(0, 8), dev=rows(6, 12), test=rows(12, 20)))
    assert task.notes == ("4 texts of dev stand in train too",)


def test_strict_refuses_leaks(save):
    """BAD_INPUTS 15."""
    directory = save(train=rows(0, 8), dev=rows(6, 12), test=rows(12, 20))
    message = message_of(directory, strict=True)
    assert f"{directory}: 4 texts of dev stand in train too; drop them, or leave --strict out" == (
        message
    )


def test_strict_allows_what_is_only_noted(save):
    task = Task.load(
        save(train=rows(0, 8) + rows(0, 1), dev=rows(8, 9), test=rows(9, 10)), strict=True
    )
    assert task.notes == ("train: 2 of 18 examples repeat another one",)


def test_mixed_label_types_are_one_class_and_noted(save):
    """BAD_INPUTS 14."""
    train = [{"text": f"t{i}", "label": (0, 1, "0", "1")[i % 4]} for i in range(32)]
    task = Task.load(save(train=train))
    assert task.labels == ("0", "1")
    assert task.notes[0] == "the label '0' is written in 2 ways (0, '0'); they are read as one"


def test_accents_that_differ_between_files_are_one_class_and_noted(save):
    """BAD_INPUTS 21."""
    task = Task.load(
        save(
            train=rows(0, 8, labels=["neg", "pos\u00e9"]),
            dev=rows(8, 12, labels=["neg", "pose\u0301"]),
            test=rows(12, 16, labels=["neg", "pos\u00e9"]),
        )
    )
    assert task.labels == ("neg", "pos\u00e9")
    assert labels_of(task.dev) == {"neg": 4, "pos\u00e9": 4}
    assert len([note for note in task.notes if "is written in 2 ways" in note]) == 1


def test_digest_is_that_of_the_content(save, tmp_path):
    directory = save(train=rows(0, 8), dev=rows(8, 12), test=rows(12, 16))
    before = Task.load(directory)
    pandas.DataFrame(rows(12, 16)).to_csv(directory / "test.csv", index=False)
    (directory / "test.jsonl").unlink()
    assert Task.load(directory).fingerprint() == before.fingerprint()


@pytest.mark.parametrize("change", ["labels: [pos, neg]\n", "metric: macro_f1\n"])
def test_fingerprint_follows_labels_and_metric(save, change):
    before = Task.load(save(train=rows(0, 8))).fingerprint()
    assert Task.load(save(task=change)).fingerprint() != before


def test_fingerprint_follows_one_label(save):
    train = rows(0, 8)
    before = Task.load(save(train=train, dev=rows(8, 9), test=rows(9, 10))).fingerprint()
    train[0] = {**train[0], "label": "pos"}
    assert Task.load(save(train=train)).fingerprint() != before


def test_with_metric_changes_the_metric_alone(save):
    task = Task.load(save(train=rows(0, 8)))
    assert task.with_metric("macro_f1").metric == "macro_f1"
    assert task.with_metric("macro_f1").digests() == task.digests()


def test_sample_is_loaded_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Task.load("sentiment").name == "sentiment"


def test_path_goes_before_the_sample_of_its_name(save, tmp_path, monkeypatch):
    save(train=rows(0, 8))
    (tmp_path / "sentiment").mkdir()
    (tmp_path / "train.jsonl").rename(tmp_path / "sentiment" / "train.jsonl")
    monkeypatch.chdir(tmp_path)
    assert Task.load("sentiment").labels == ("neg", "pos")


@pytest.mark.parametrize("name", ["sentimant", "Sentiment"])
def test_unknown_name_lists_the_samples(name):
    with pytest.raises(UnknownNameError) as caught:
        Task.load(name)
    assert f"unknown task (no such path, and no sample task) '{name}'" in str(caught.value)
    assert "did you mean 'sentiment'? valid: question_type, sentiment, topic" in str(caught.value)


@pytest.mark.parametrize("path", ["data/none", "reviews.csv", "../x"])
def test_absent_path_is_named(path):
    assert message_of(path) == (
        f"{path} does not exist; give a directory, a data file, or a sample task's name"
    )


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b"])
def test_impossible_path_is_an_input_error(name):
    with pytest.raises(InputError):
        Task.load(name)


def test_encoding_is_handed_on(tmp_path):
    path = tmp_path / "a.csv"
    lines = "".join(f"caf\u00e9 {i},{'ab'[i % 2]}\n" for i in range(16))
    path.write_bytes(("text,label\n" + lines).encode("latin-1"))
    assert Task.load(path, encoding="latin-1").train[0].fields["text"].startswith("caf\u00e9")


def test_examples_of_one_file(save):
    directory = save(more=rows(0, 1))
    assert load_examples(directory / "more.jsonl", Columns(), labelled=True) == [
        Example({"text": "neg 0"}, "neg"),
        Example({"text": "pos 0"}, "pos"),
    ]


def test_unlabelled_file_needs_no_label_column(save):
    directory = save(more=[{"text": "x"}])
    assert load_examples(directory / "more.jsonl", Columns(), labelled=False) == [
        Example({"text": "x"}, None)
    ]


def test_description_beside_the_file_is_used(save):
    directory = save(
        more=[{"review": "x", "stars": 1}], task="fields: {text: review}\nlabel: stars\n"
    )
    assert load_examples(directory / "more.jsonl", Columns(), labelled=True) == [
        Example({"text": "x"}, "1")
    ]


def test_named_columns_leave_the_description_unread(save):
    directory = save(more=[{"review": "x", "stars": 1}], task="not: read\n")
    columns = Columns(fields={"text": "review"}, label="stars")
    assert load_examples(directory / "more.jsonl", columns, labelled=True) == [
        Example({"text": "x"}, "1")
    ]


def test_wanted_columns_need_no_guessing(save):
    directory = save(more=[{"text": "x", "title": "y"}])
    path = directory / "more.jsonl"
    assert load_examples(path, Columns(), labelled=False, wanted=["title"]) == [
        Example({"title": "y"}, None)
    ]
    with pytest.raises(TaskError, match="more than one reading"):
        load_examples(path, Columns(), labelled=False)


KNOWN = Columns({"text": "review", "title": "head"}, "stars", {"1": "bad", "5": "good"})


@pytest.mark.parametrize(
    ("row", "wanted", "found"),
    [
        (
            {"head": "h", "review": "r", "stars": 5, "label": "x", "text": "t"},
            ["text"],
            Example({"text": "r", "title": "h"}, "good"),
        ),
        # The rest of the task's fields need not be there.
        ({"review": "r", "stars": "good"}, ["text"], Example({"text": "r"}, "good")),
        # As a run writes its splits.
        (
            {"text": "t", "title": "h", "label": "bad"},
            ["title"],
            Example({"text": "t", "title": "h"}, "bad"),
        ),
        # Other columns than those of the search are read as without it.
        ({"content": "c", "label": "1"}, ["text"], Example({"text": "c"}, "1")),
    ],
)
def test_columns_of_earlier_data_are_known_again(save, row, wanted, found):
    path = save(more=[row]) / "more.jsonl"
    assert load_examples(path, Columns(), labelled=True, wanted=wanted, known=KNOWN) == [found]


def test_columns_that_are_named_go_before_those_of_earlier_data(save):
    path = save(more=[{"review": "r", "stars": 5, "other": "o", "mine": "x"}]) / "more.jsonl"
    named = Columns({"text": "other"}, "mine")
    assert load_examples(path, named, labelled=True, wanted=["text"], known=KNOWN) == [
        Example({"text": "o"}, "x")
    ]


def test_a_task_knows_its_columns(save):
    path = save(
        train=[{"review": f"x{i}", "stars": i % 2} for i in range(24)],
        task='fields: {text: review}\nlabel: stars\nlabels: {"0": bad, "1": good}\nname: n\n',
    )
    task = Task.load(path)
    assert task.columns == Columns({"text": "review"}, "stars", {"0": "bad", "1": "good"})


def test_samples_are_listed():
    assert sample_tasks() == ["question_type", "sentiment", "topic"]


def test_fingerprint_depends_on_the_order_of_examples():
    task = Task.load("sentiment")
    turned = replace(task, train=tuple(reversed(task.train)))
    assert turned.digests() == task.digests()
    assert turned.fingerprint() != task.fingerprint()
