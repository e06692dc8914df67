"""Search spaces: reading them, restricting them to a task, composing templates."""

import itertools

import pytest

from autoprompt.errors import SpaceError, UnknownNameError
from autoprompt.space_content import TriggerPlan
from autoprompt.spaces import SearchSpace
from autoprompt.verbalizers import Verbalizer

HEAD = "name: toy\nfields: [text]\nlabels: [neg, pos]\n"
SEEDS = """\
seeds:
  - template: "{text} It was {mask}."
    verbalizer: {neg: [bad], pos: [good]}
  - template: "{mask}! {text}"
    verbalizer: {neg: [awful, bad], pos: [great]}
"""
TEMPLATES = """\
templates:
  patterns: ["{text} {stem} {mask}{end}", "{stem} {mask}. {text}"]
  slots:
    stem: ["It was", "A truly", ""]
    end: [".", "!"]
"""
WORDS = """\
label_words:
  per_label: [1, 3]
  candidates: {neg: [poor, Bad], pos: [fine]}
"""
TOY = HEAD + SEEDS
FULL = TOY + TEMPLATES + WORDS + "demonstrations: {per_label: [0, 2]}\ncalibration: [none, batch]\n"


def message_of(text: str) -> str:
    with pytest.raises(SpaceError) as caught:
        SearchSpace.parse(text, "toy.yaml")
    return str(caught.value)


def with_patterns(patterns: str, slots: str = "") -> str:
    return (
        TOY + f"templates:\n  patterns: [{patterns}]\n" + (f"  slots: {slots}\n" if slots else "")
    )


def test_smallest_space_is_read():
    space = SearchSpace.parse(TOY)
    assert (space.name, space.fields, space.labels) == ("toy", ("text",), ("neg", "pos"))
    assert [seed.template.text for seed in space.seeds] == [
        "{text} It was {mask}.",
        "{mask}! {text}",
    ]
    assert space.seeds[1].words == {"neg": ("awful", "bad"), "pos": ("great",)}


def test_smallest_space_varies_nothing():
    space = SearchSpace.parse(TOY)
    assert (space.patterns, space.fit_words) == ((), False)
    assert (space.demonstrations, space.calibration) == ((0,), ("none",))


def test_full_space_is_read():
    space = SearchSpace.parse(FULL + "description: A toy.\n")
    assert [pattern.slots for pattern in space.patterns] == [("stem", "end"), ("stem",)]
    assert space.slots == {"stem": ("It was", "A truly", ""), "end": (".", "!")}
    assert space.candidates == {"neg": ("poor", "Bad"), "pos": ("fine",)}
    assert (space.words_per_label, space.fit_words) == ((1, 3), True)
    assert (space.demonstrations, space.calibration) == ((0, 2), ("none", "batch"))
    assert space.description == "A toy."


def test_yes_and_no_stay_label_words():
    """BAD_INPUTS 37: YAML 1.1 would make True and False of them."""
    space = SearchSpace.parse(TOY.replace("[bad]", "[no]").replace("[good]", "[yes, 1]"))
    assert space.seeds[0].words == {"neg": ("no",), "pos": ("yes", "1")}


@pytest.mark.parametrize("key", ["name", "fields", "labels", "seeds"])
def test_missing_key_is_named(key):
    parts = {
        "name": "name: toy\n",
        "fields": "fields: [text]\n",
        "labels": "labels: [neg, pos]\n",
        "seeds": SEEDS,
    }
    message = message_of("".join(text for name, text in parts.items() if name != key))
    assert f"toy.yaml, line 1: the key '{key}' is missing; a search space needs" in message


def test_empty_mapping_names_the_file():
    assert message_of("{}").startswith("toy.yaml, line 1: the key 'name' is missing")


def test_unknown_key_gets_a_hint():
    message = message_of(TOY + "calibrations: [none]\n")
    assert "toy.yaml, line 9: a search space has no key 'calibrations'" in message
    assert "did you mean 'calibration'?" in message


def test_duplicate_key_is_refused():
    """BAD_INPUTS 38."""
    assert "line 9: the key 'name' stands twice" in message_of(TOY + "name: other\n")


@pytest.mark.parametrize("name", ["mask", "demonstrations", "trigger"])
def test_reserved_field_is_refused(name):
    message = message_of(TOY.replace("[text]", f"[text, {name}]"))
    assert f"line 2: a field cannot be called '{name}'; rename it" in message


def test_repeated_field_is_refused():
    assert "names one field twice" in message_of(TOY.replace("[text]", "[text, text]"))


@pytest.mark.parametrize("labels", ["[neg]", "[neg, neg]", "[[neg, pos], [neg]]", "[neg, [pos]]"])
def test_labels_must_be_two_and_different(labels):
    """BAD_INPUTS 4."""
    message = message_of(TOY.replace("[neg, pos]", labels))
    assert "line 3: labels must name two different labels at least, each once" in message


def test_accents_of_labels_are_composed():
    """BAD_INPUTS 21: data is read so, and the two must meet."""
    space = SearchSpace.parse(TOY.replace("pos", "pose\u0301"))
    assert space.labels == ("neg", "pos\u00e9")
    assert space.seeds[0].words["pos\u00e9"] == ("good",)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{text} It was.", "has 0 {mask} slots"),
        ("{text} {mask} {mask}", "has 2 {mask} slots"),
        ("It was {mask}.", "shows no field"),
        ("{txt} It was {mask}.", "did you mean 'text'?"),
        ("{text} { {mask}", "at column 8"),
    ],
)
def test_bad_seed_template_gives_its_line(template, reason):
    """BAD_INPUTS 23 to 28, in a file."""
    message = message_of(TOY.replace("{text} It was {mask}.", template))
    assert message.startswith("toy.yaml, line 5: ")
    assert reason in message


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("{neg: [bad]}", "label 'pos' has no words"),
        ("{neg: [bad], pos: []}", "the words of 'pos' must be a list with at least one entry"),
        ("{neg: [bad], pos: [Bad]}", "the word 'Bad' of label 'pos' stands for 'neg' too"),
        ("{neg: [bad], pos: ['']}", "each entry of the words of 'pos' must be text"),
        ("{neg: [bad], pos: [good], poss: [x]}", "words for 'poss', which is not a label; did"),
        ("[bad, good]", "a verbalizer must be a mapping of names to values"),
    ],
)
def test_bad_seed_words_give_their_line(words, reason):
    """BAD_INPUTS 5, 34 and 35, in a file."""
    message = message_of(TOY.replace("{neg: [bad], pos: [good]}", words))
    assert message.startswith("toy.yaml, line 6: ")
    assert reason in message


@pytest.mark.parametrize(
    ("seed", "key"),
    [
        ('template: "{text} {mask}"', "verbalizer"),
        ("verbalizer: {neg: [bad], pos: [good]}", "template"),
    ],
)
def test_seed_that_lacks_a_key_is_refused(seed, key):
    message = message_of(HEAD + f"seeds:\n  - {seed}\n")
    assert message == f"toy.yaml, line 5: a seed needs the key '{key}'"


def test_space_needs_a_seed():
    assert "seeds must be a list with at least one entry" in message_of(HEAD + "seeds: []\n")


def test_templates_need_patterns():
    assert "templates needs the key 'patterns'" in message_of(
        TOY + "templates: {slots: {a: [b]}}\n"
    )


def test_patterns_may_have_no_slots():
    space = SearchSpace.parse(with_patterns('"{text} So {mask}."'))
    assert space.compose(space.patterns[0], {}).text == "{text} So {mask}."
    assert space.compositions(space.patterns[0]) == 1


def test_unknown_slot_of_a_pattern_gets_a_hint():
    """BAD_INPUTS 26."""
    message = message_of(with_patterns('"{text} {stm} {mask}"', '{stem: ["It was"]}'))
    assert "line 10: pattern '{text} {stm} {mask}' has an unknown slot {stm}" in message
    assert "did you mean 'stem'? valid: text, mask" in message


@pytest.mark.parametrize("name", ["text", "mask", "demonstrations", "trigger"])
def test_slot_cannot_have_the_name_of_a_field(name):
    message = message_of(with_patterns('"{text} {mask}"', f"{{{name}: [a]}}"))
    assert f"line 11: a slot cannot be called '{name}'" in message


def test_unused_slot_is_refused():
    message = message_of(with_patterns('"{text} {mask}"', "{stem: [a, b]}"))
    assert "no pattern uses the slot 'stem' (2 options); use it, or take it out" in message


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("[]", "a slot's options must be a list with at least one entry"),
        ("[a, [b]]", "an option must be text"),
        ("[a, a]", "the option 'a' stands twice"),
        ('["a {"]', "stray '{' at column 3"),
        ('["a {text.x}"]', "is not a slot"),
        ('["a", "{mask}"]', "has 2 {mask} slots"),
        ('["a", "{nothing}"]', "unknown slot {nothing}"),
    ],
)
def test_bad_options_are_refused(options, reason):
    message = message_of(with_patterns('"{text} {stem} {mask}"', f"{{stem: {options}}}"))
    assert reason in message
    assert message.startswith("toy.yaml, line 1")


def test_slot_cannot_spread_over_two_options():
    message = message_of(with_patterns('"{text} {a}{b}"', '{a: ["{ma"], b: ["sk}"]}'))
    assert "stray '{' at column 1 of template '{ma'" in message


def test_choice_of_options_that_shows_no_field_is_refused():
    """Each option goes with the other slot's first one; the two last ones do not go together."""
    slots = '{a: ["{text}", "A text"], b: ["{text}", "it"]}'
    assert "shows no field" in message_of(with_patterns('"{a} and {b} {mask}"', slots))


def test_choice_of_options_with_two_places_for_demonstrations_is_refused():
    slots = '{a: ["", "{demonstrations}"], b: ["", "{demonstrations}"]}'
    assert "2 {demonstrations} slots" in message_of(with_patterns('"{a}{b}{text} {mask}"', slots))


def test_too_many_templates_are_refused():
    slots = ", ".join(f"s{i}: [{', '.join(map(str, range(32)))}]" for i in range(4))
    pattern = '"{text} {s0}{s1}{s2}{s3} {mask}"'
    message = message_of(with_patterns(pattern, f"{{{slots}}}"))
    assert "gives 1,048,576 templates; at most 1,000,000" in message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("label_words: {per_label: 3}", "per_label must be a list"),
        ("label_words: {per_label: [3, 1]}", "per_label must be [fewest, most], as in [1, 3]"),
        ("label_words: {per_label: [1, 2, 3]}", "per_label must be [fewest, most]"),
        ("label_words: {per_label: [0, 1]}", "per_label must lie between 1 and 100, not 0"),
        ("label_words: {search: yes}", "search must be true or false, not 'yes'"),
        (
            "label_words: {candidates: {neg: [a], mid: [b]}}",
            "words for 'mid', which is not a label",
        ),
        ("label_words: {candidates: {neg: [a], pos: [A]}}", "the word 'A' of label 'pos' stands"),
        ("demonstrations: {}", "demonstrations needs the key 'per_label'"),
        ("demonstrations: {per_label: [33]}", "must lie between 0 and 32, not 33"),
        (
            "demonstrations: {per_label: [1], select: [rundom]}",
            "unknown selection of demonstrations 'rundom'; did you mean 'random'? valid: random,",
        ),
        (
            "demonstrations: {per_label: [1], order: [sorted]}",
            "unknown order of demonstrations 'sorted'; valid: mixed, grouped",
        ),
        ("demonstrations: {per_label: [1], order: []}", "must be a list with at least one entry"),
        ("demonstrations: {per_label: [1], ordr: [mixed]}", "no key 'ordr'; did you mean 'order'?"),
        ("calibration: [nune]", "unknown calibration 'nune'; did you mean 'none'? valid: none,"),
    ],
)
def test_bad_setting_gives_its_line(text, reason):
    message = message_of(TOY + text + "\n")
    assert message.startswith("toy.yaml, line 9: ")
    assert reason in message


def test_words_per_label_may_be_one_number():
    assert SearchSpace.parse(TOY + "label_words: {per_label: [2]}").words_per_label == (2, 2)


@pytest.mark.parametrize(("search", "fits"), [("", True), ("  search: false\n", False)])
def test_candidates_are_fitted_unless_told_otherwise(search, fits):
    assert SearchSpace.parse(TOY + WORDS + search).fit_words is fits


def test_repeated_settings_count_once():
    space = SearchSpace.parse(
        TOY + "demonstrations: {per_label: [2, 0, 2]}\ncalibration: [batch, batch]\n"
    )
    assert (space.demonstrations, space.calibration) == ((2, 0), ("batch",))


@pytest.mark.parametrize(
    ("text", "selections", "orders"),
    [
        ("", ("random",), ("mixed",)),
        (", select: [class, random]", ("class", "random"), ("mixed",)),
        (", select: class, order: [grouped, mixed, grouped]", ("class",), ("grouped", "mixed")),
    ],
)
def test_ways_to_show_demonstrations_are_read(text, selections, orders):
    space = SearchSpace.parse(TOY + f"demonstrations: {{per_label: [0, 1]{text}}}\n")
    assert (space.selections, space.orders) == (selections, orders)
    plain = SearchSpace.parse(TOY + "demonstrations: {per_label: [0, 1]}\n")
    assert (space.fingerprint() == plain.fingerprint()) == (not text)


def test_compose_gives_every_template_once():
    space = SearchSpace.parse(FULL)
    pattern = space.patterns[0]
    texts = {
        space.compose(pattern, {"stem": i, "end": j}).text
        for i, j in itertools.product(range(3), range(2))
    }
    assert len(texts) == space.compositions(pattern) == 6
    assert "{text} A truly {mask}!" in texts


def test_slots_inside_options_are_filled_by_the_example():
    space = SearchSpace.parse(with_patterns('"{both} {mask}"', '{both: ["A {text}", "{text}?"]}'))
    assert space.compose(space.patterns[0], {"both": 1}).fields == ("text",)


def test_restricted_takes_the_tasks_order():
    space = SearchSpace.parse(FULL).restricted(["id", "text"], ["pos", "neg"])
    assert space.labels == ("pos", "neg")
    assert list(space.seeds[0].words) == ["pos", "neg"]


def test_restricted_drops_the_words_of_other_labels():
    text = FULL.replace("[neg, pos]", "[[neg, pos], [neg, mid]]")
    text = text.replace("pos: [good]", "pos: [good], mid: [good]")
    text = text.replace("pos: [great]", "pos: [great], mid: [ok]")
    space = SearchSpace.parse(text).restricted(["text"], ["mid", "neg"])
    assert space.seeds[0].words == {"mid": ("good",), "neg": ("bad",)}
    assert space.candidates == {"neg": ("poor", "Bad")}


def test_space_with_several_label_sets_wants_a_task():
    text = TOY.replace("[neg, pos]", "[[neg, pos], [pos, neg]]")
    with pytest.raises(SpaceError, match="serves several label sets; restrict it to a task"):
        SearchSpace.parse(text).verbalizers()


def test_restricted_names_the_field_that_the_task_lacks():
    with pytest.raises(SpaceError) as caught:
        SearchSpace.parse(TOY).restricted(["premise", "claim"], ["neg", "pos"])
    message = str(caught.value)
    assert "needs the fields text; the task has premise, claim and lacks text" in message
    assert "`fields: {text: its_column}`" in message


def test_restricted_names_the_label_without_words():
    """BAD_INPUTS 5."""
    with pytest.raises(SpaceError) as caught:
        SearchSpace.parse(TOY).restricted(["text"], ["neg", "poss"])
    message = str(caught.value)
    assert "space 'toy' is for the labels {neg, pos}; the task has {neg, poss}" in message
    assert "'poss' (did you mean 'pos'?) have no words" in message
    assert "rename labels in task.yaml" in message


def test_restricted_refuses_a_task_with_fewer_labels():
    """BAD_INPUTS 5, the reverse."""
    text = TOY.replace("[neg, pos]", "[neg, pos, mid]")
    text = text.replace("[good]", "[good], mid: [ok]").replace("[great]", "[great], mid: [so]")
    with pytest.raises(SpaceError, match=r"the task has \{neg, pos\}; rename"):
        SearchSpace.parse(text).restricted(["text"], ["neg", "pos"])


def test_verbalizers_come_once_each():
    text = TOY + '  - template: "So {mask}: {text}"\n    verbalizer: {pos: [good], neg: [bad]}\n'
    assert SearchSpace.parse(text).verbalizers() == (
        Verbalizer.of({"neg": ["bad"], "pos": ["good"]}),
        Verbalizer.of({"neg": ["awful", "bad"], "pos": ["great"]}),
    )


def test_label_candidates_begin_with_the_seeds_words():
    assert SearchSpace.parse(FULL).label_candidates() == {
        "neg": ("bad", "awful", "poor"),
        "pos": ("good", "great", "fine"),
    }


def test_label_candidates_keep_the_first_spelling():
    space = SearchSpace.parse(FULL.replace("{neg: [bad], ", "{neg: [BAD], "))
    assert space.label_candidates()["neg"] == ("BAD", "awful", "poor")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("It was {mask}.", "It is {mask}."),
        ("[good]", "[nice]"),
        ("A truly", "A real"),
        ("[poor, Bad]", "[poor]"),
        ("[1, 3]", "[1, 2]"),
        ("[0, 2]", "[0, 1]"),
        ("[none, batch]", "[none]"),
        ("[neg, pos]", "[pos, neg]"),
        ("{stem} {mask}. {text}", "{stem} {mask}: {text}"),
    ],
)
def test_fingerprint_follows_what_the_search_may_see(old, new):
    assert old in FULL
    changed = SearchSpace.parse(FULL.replace(old, new, 1))
    assert changed.fingerprint() != SearchSpace.parse(FULL).fingerprint()


def test_fingerprint_does_not_follow_the_wording_of_the_file():
    other = "# a comment\n" + FULL.replace("name: toy", "name: 'other'")
    assert SearchSpace.parse(other).fingerprint() == SearchSpace.parse(FULL).fingerprint()


def test_load_reads_a_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("\ufeff" + TOY, encoding="utf-8")
    assert SearchSpace.load(path).name == "toy"
    assert SearchSpace.load(str(path)).name == "toy"


def test_message_names_the_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: [a")
    with pytest.raises(SpaceError, match=r"mine\.yaml, line 1, column 9: not valid YAML"):
        SearchSpace.load(path)


def test_unknown_space_lists_the_shipped_ones():
    with pytest.raises(UnknownNameError) as caught:
        SearchSpace.load("sentimant")
    assert str(caught.value) == (
        "unknown search space 'sentimant'; did you mean 'sentiment'? "
        "valid: nli, paraphrase, question_type, sentiment, topic"
    )


@pytest.mark.parametrize("name", ["absent.yaml", "some/where", "absent.yml"])
def test_absent_file_is_named(name):
    with pytest.raises(SpaceError, match=f"no search space at {name}; check the path, or write"):
        SearchSpace.load(name)


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b"])
def test_impossible_name_is_an_unknown_name(name):
    with pytest.raises(UnknownNameError):
        SearchSpace.load(name)


def test_directory_is_no_space(tmp_path):
    with pytest.raises(SpaceError, match="no search space at"):
        SearchSpace.load(tmp_path)


def test_stray_brace_in_a_pattern_gives_its_line():
    """BAD_INPUTS 27."""
    message = message_of(with_patterns('"{text} } {mask}"'))
    assert message.startswith("toy.yaml, line 10: stray '}' at column 8")


# -- triggers, vocabulary, templates by the model ---------------------------------------------


def test_triggers_are_read():
    assert SearchSpace.parse(TOY).triggers is None
    assert SearchSpace.parse(TOY + "triggers: {}\n").triggers == TriggerPlan()
    text = TOY + "triggers: {max_tokens: 3, positions: [suffix, prefix, suffix]}\n"
    assert SearchSpace.parse(text).triggers == TriggerPlan(3, ("suffix", "prefix"))


def test_weights_of_the_trigger_search_are_read():
    text = TOY + "triggers: {fluency: 0.25, anti_collapse: 1}\n"
    plan = SearchSpace.parse(text).triggers
    assert plan is not None
    assert (plan.fluency, plan.anti_collapse) == (0.25, 1.0)


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "1e9", "much", "[1]"])
def test_weights_of_the_trigger_search_must_be_numbers(value):
    message = message_of(TOY + f"triggers: {{fluency: {value}}}\n")
    assert "fluency must be a number from 0 to 100" in message


def test_words_of_the_vocabulary_are_fitted_unless_told_otherwise():
    space = SearchSpace.parse(TOY + "label_words: {vocabulary: 50}\n")
    assert (space.vocabulary, space.fit_words) == (50, True)
    assert space.word_methods == ("likelihood ratio",)
    text = TOY + "label_words: {vocabulary: 0}\n"
    assert not SearchSpace.parse(text).fit_words
    text = TOY + "label_words: {vocabulary: 50, search: false}\n"
    assert not SearchSpace.parse(text).fit_words


def test_methods_of_fitting_are_read():
    text = TOY + "label_words: {methods: [label head, assignment, label head], vocabulary: 1}\n"
    assert SearchSpace.parse(text).word_methods == ("label head", "assignment")


@pytest.mark.parametrize("text", ["{generated: 5}", "{generated: 5, patterns: ['{text} {mask}']}"])
def test_templates_may_be_left_to_the_model(text):
    space = SearchSpace.parse(TOY + f"templates: {text}\n")
    assert space.generated == 5
    assert len(space.patterns) == ("patterns" in text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("triggers: [3]", "triggers must be a mapping"),
        ("triggers: {most: 3}", "triggers has no key 'most'"),
        ("triggers: {max_tokens: 0}", "max_tokens must lie between 1 and 64, not 0"),
        ("triggers: {max_tokens: 65}", "max_tokens must lie between 1 and 64, not 65"),
        ("triggers: {max_tokens: few}", "max_tokens must be a whole number"),
        ("triggers: {positions: []}", "positions must be a list with at least one entry"),
        (
            "triggers: {positions: [sufix]}",
            "unknown trigger position 'sufix'; did you mean 'suffix'? valid: own_words, ",
        ),
        (
            "label_words: {methods: [likelihood]}",
            "unknown label-word method 'likelihood'; did you mean 'likelihood ratio'? valid: ",
        ),
        ("label_words: {methods: []}", "methods must be a list with at least one entry"),
        (
            "label_words: {vocabulary: -1}",
            "vocabulary must be a whole number from 0 to 100000, not",
        ),
        ("label_words: {vocabulary: 100001}", "between 0 and 100000, not 100001"),
        ("label_words: {vocabulary: all}", "vocabulary must be a whole number"),
        ("templates: {generated: 1001}", "generated must lie between 0 and 1000, not 1001"),
        ("templates: {generated: -1}", "generated must be a whole number from 0 to 1000, not"),
        (
            "templates: {generated: 5, slots: {a: [b]}}",
            "needs the key 'patterns', or 'generated' al",
        ),
    ],
)
def test_bad_setting_of_a_search_gives_its_line(text, reason):
    message = message_of(TOY + text + "\n")
    assert message.startswith("toy.yaml, line 9: ")
    assert reason in message


SEARCHED = (
    TOY
    + """\
templates: {generated: 5}
triggers: {max_tokens: 3, positions: [own_words, prefix]}
label_words: {vocabulary: 50, methods: [likelihood ratio, label head]}
"""
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("generated: 5", "generated: 6"),
        ("max_tokens: 3", "max_tokens: 4"),
        ("[own_words, prefix]", "[own_words]"),
        ("triggers: {max_tokens: 3, positions: [own_words, prefix]}\n", ""),
        ("vocabulary: 50", "vocabulary: 51"),
        ("[likelihood ratio, label head]", "[likelihood ratio]"),
        ("vocabulary: 50", "vocabulary: 50, search: false"),
    ],
)
def test_fingerprint_follows_how_a_space_is_searched(old, new):
    assert old in SEARCHED
    changed = SearchSpace.parse(SEARCHED.replace(old, new, 1))
    assert changed.fingerprint() != SearchSpace.parse(SEARCHED).fingerprint()


# -- instructions and chats -------------------------------------------------------------------

INSTRUCTED = (
    FULL
    + """\
instructions:
  seeds:
    - template: "{user:}Good? {text}{assistant:}{mask}"
      verbalizer: {neg: [no], pos: [yes]}
  patterns: ["{who}{user:}{task} {text}{assistant:}{mask}", "{task} {text} {stem} {mask}"]
  slots:
    who: ["", "{system:}You judge."]
    task: ["Good or bad?", "What is it?"]
"""
)


def test_instructions_are_read():
    own = SearchSpace.parse(INSTRUCTED).instructions
    assert [seed.words for seed in own.seeds] == [{"neg": ("no",), "pos": ("yes",)}]
    assert [pattern.slots for pattern in own.patterns] == [("who", "task"), ("task", "stem")]
    assert own.slots == {
        "who": ("", "{system:}You judge."),
        "task": ("Good or bad?", "What is it?"),
    }


def test_a_masked_model_gets_no_instructions():
    found = SearchSpace.parse(INSTRUCTED).for_family("masked")
    assert found == SearchSpace.parse(FULL)
    assert found.fingerprint() == SearchSpace.parse(FULL).fingerprint()


@pytest.mark.parametrize("family", ["causal", "seq2seq"])
def test_other_models_get_instructions_beside_the_rest(family):
    whole = SearchSpace.parse(INSTRUCTED)
    found = whole.restricted(["text"], ["pos", "neg"]).for_family(family)
    assert [seed.template for seed in found.seeds] == [
        seed.template for seed in (*whole.seeds, *whole.instructions.seeds)
    ]
    assert found.patterns == whole.patterns + whole.instructions.patterns
    assert set(found.slots) == {"stem", "end", "who", "task"}
    assert list(found.seeds[-1].words) == ["pos", "neg"]
    assert found.fingerprint() != whole.for_family("masked").fingerprint()
    assert found.for_family(family) == found


def test_instructions_may_be_seeds_alone():
    text = INSTRUCTED.partition('  patterns: ["{who}')[0]
    own = SearchSpace.parse(text).instructions
    assert (len(own.seeds), own.patterns, own.slots) == (1, (), {})


@pytest.mark.parametrize(
    ("old", "new", "where", "reason"),
    [
        ("  seeds:\n    - t", "  seed:\n    - t", "  seed:", "did you mean 'seeds'?"),
        ("[yes]", "[no]", "{neg: [no]", "stands for 'neg' too"),
        ("    who:", "    stem:", '    stem: [""', "'stem' stands under templates too; use that"),
        ("{task} {text} {stem}", "{tsak} {text}", "{tsak}", "{tsak}; did you mean 'task'?"),
        ("{system:}You", "{sytem:}You", "{sytem:}", "{sytem:} at column 1"),
        ("{system:}You judge.", "{user:}Hm.", "{who}", "has 2 user parts"),
        ("{system:}You judge.", "{system:}", "{who}", "has an empty system part"),
        ('"{who}{user:}', '"{user:}', "instructions:", "no pattern uses the slot 'who'"),
    ],
)
def test_bad_instructions_give_their_line(old, new, where, reason):
    assert old in INSTRUCTED
    text = INSTRUCTED.replace(old, new, 1)
    message = message_of(text)
    assert message.startswith(f"toy.yaml, line {text[: text.rindex(where)].count(chr(10)) + 1}: ")
    assert reason in message


@pytest.mark.parametrize("text", ["{}", "{slots: {a: [x]}}"])
def test_instructions_need_seeds_or_patterns(text):
    message = message_of(f"{TOY}instructions: {text}\n")
    assert "instructions needs the key 'patterns', or 'seeds' alone" in message


@pytest.mark.parametrize("value", ["optional", "required"])
def test_chat_is_read(value):
    assert SearchSpace.parse(f"{INSTRUCTED}chat: {value}\n").chat == value
    assert SearchSpace.parse(INSTRUCTED).chat == "optional"


@pytest.mark.parametrize("where", ["seed", "pattern", "option"])
def test_chat_may_be_required_where_there_is_one(where):
    chat = "{user:}{text}{assistant:}{mask}"
    pattern, option = {"seed": ("", ""), "pattern": (chat, "x"), "option": ("{a}", chat)}[where]
    text = with_patterns(f'"{pattern}"', f'{{a: ["{option}"]}}' if where == "option" else "")
    text = TOY.replace("{text} It was {mask}.", chat) if where == "seed" else text
    assert SearchSpace.parse(f"{text}chat: required\n").chat == "required"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("always", "chat must be one of optional, required, not 'always'"),
        ("[required]", "chat must be text"),
        ("required", "chat is required, but no template is a chat"),
    ],
)
def test_bad_chat_gives_its_line(value, reason):
    assert f"line 9: {reason}" in message_of(f"{TOY}chat: {value}\n")


def test_marks_of_roles_are_valid_names_of_a_pattern():
    message = message_of(with_patterns('"{user}{text}{assistant:}{mask}"'))
    assert "unknown slot {user}; did you mean 'user:'?" in message
    assert "valid: text, mask, demonstrations, trigger, system:, user:, assistant:" in message
