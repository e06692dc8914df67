"""Verbalizers as text: labels and their words."""

import pytest

from autoprompt.errors import UnknownNameError, VerbalizerError
from autoprompt.verbalizers import Verbalizer, normalised_word

WORDS = {"neg": ["bad", "very poor"], "pos": ["good"]}


def test_labels_come_in_the_tasks_order():
    verbalizer = Verbalizer.of(WORDS, ["pos", "neg"])
    assert verbalizer.labels == ("pos", "neg")
    assert verbalizer.words == (("good",), ("bad", "very poor"))


def test_labels_default_to_those_of_the_words():
    assert Verbalizer.of(WORDS).labels == ("neg", "pos")


def test_label_without_words_is_refused():
    """BAD_INPUTS 5."""
    with pytest.raises(VerbalizerError, match="label 'mid' has no words; give it one at least"):
        Verbalizer.of(WORDS, ["neg", "mid", "pos"])


def test_words_of_no_label_are_refused():
    """BAD_INPUTS 5."""
    with pytest.raises(VerbalizerError) as caught:
        Verbalizer.of({**WORDS, "positiv": ["nice"]}, ["negative", "positive"])
    assert "words are given for 'neg'" in str(caught.value)
    assert "the labels are: negative, positive" in str(caught.value)


def test_misspelt_label_gets_a_hint():
    with pytest.raises(VerbalizerError, match=r"'positiv', .*did you mean 'positive'\?"):
        Verbalizer.of({"negative": ["bad"], "positiv": ["good"]}, ["negative", "positive"])


@pytest.mark.parametrize("word", ["", " ", "\t\n", "\u2003"])
def test_empty_word_is_refused(word):
    """BAD_INPUTS 35, as far as text goes."""
    with pytest.raises(VerbalizerError, match="label 'neg' has an empty word; remove it"):
        Verbalizer.of({"neg": [word], "pos": ["good"]})


def test_a_word_with_a_nul_is_refused():
    with pytest.raises(VerbalizerError, match=r"'a\\x00b' holds a NUL character; remove it"):
        Verbalizer.of({"neg": ["a\0b"], "pos": ["good"]})


@pytest.mark.parametrize("twin", ["good", "Good", " good", "ｇｏｏｄ", "GOOD "])
def test_word_of_two_labels_is_refused(twin):
    """BAD_INPUTS 34, as far as text goes; case and width do not make another word."""
    with pytest.raises(VerbalizerError) as caught:
        Verbalizer.of({"neg": ["good"], "pos": [twin]})
    assert f"the word {twin!r} of label 'pos' stands for 'neg' too" in str(caught.value)


def test_word_twice_in_one_label_is_refused():
    with pytest.raises(VerbalizerError, match="the word 'Bad' stands twice for label 'neg'"):
        Verbalizer.of({"neg": ["bad", "Bad"], "pos": ["good"]})


def test_shared_first_word_is_allowed():
    Verbalizer.of({"neg": ["very bad"], "pos": ["very good"]})


def test_word_with_inner_space_is_one_word():
    """BAD_INPUTS 33: several tokens are the model's matter, and nothing is cut here."""
    assert Verbalizer.of(WORDS).words[0] == ("bad", "very poor")


def test_string_for_words_is_not_taken_for_its_letters():
    with pytest.raises(VerbalizerError, match=r"must be a list, as in \['bad'\]"):
        Verbalizer.of({"neg": "bad", "pos": "good"})


def test_repeated_label_is_refused():
    with pytest.raises(VerbalizerError, match="a label stands twice in neg, pos, neg"):
        Verbalizer.of(WORDS, ["neg", "pos", "neg"])


def test_unknown_aggregation_lists_the_valid():
    with pytest.raises(UnknownNameError, match=r"did you mean 'mean'.*valid: logsumexp, mean"):
        Verbalizer.of(WORDS, aggregation="maen")


def test_as_dict_comes_back():
    verbalizer = Verbalizer.of(WORDS, aggregation="mean")
    again = Verbalizer.of(verbalizer.as_dict(), verbalizer.labels, verbalizer.aggregation)
    assert again == verbalizer


def test_all_words_go_label_by_label():
    assert Verbalizer.of(WORDS).all_words == ("bad", "very poor", "good")


def test_printed_form_shows_labels_and_words():
    assert str(Verbalizer.of(WORDS)) == "neg: bad / very poor, pos: good"


@pytest.mark.parametrize(
    ("word", "form"),
    [("  Very\u00a0 Good ", "very good"), ("e\u0301t", "ét"), ("Straße", "strasse")],
)
def test_normalised_word(word, form):
    assert normalised_word(word) == form
