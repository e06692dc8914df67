"""A prompt's scores under other wordings of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from listening_models import ListeningModel, listening_prompt

from autoprompt.errors import InputError, VerbalizerError
from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.objective import evaluate
from autoprompt.prompts import Calibration, TriggerTokens
from autoprompt.robustness import Spread, scores_and_notes, wording_scores
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.tasks.examples import Example
from autoprompt.wordings import wordings

EXAMPLES = [Example({"text": "a good film"}, "positive"), Example({"text": "dull"}, "negative")]
WORDS = ("bad", "great")


def test_each_wording_is_scored_as_a_prompt_of_its_own(tiny_model: MaskedLanguageModel) -> None:
    prompt = listening_prompt(calibration=Calibration("contextual", (-0.2, -1.7)))
    scorer = WordScorer(tiny_model, WORDS)
    found = wording_scores(prompt, scorer, EXAMPLES)
    assert "end: nothing" in found
    for name, scored in found.items():
        other = replace(prompt, template=wordings(prompt.template)[name])
        wanted = evaluate(other, WordScorer(tiny_model, WORDS), EXAMPLES)
        np.testing.assert_allclose(scored.log_probabilities, wanted.log_probabilities, atol=1e-5)
        assert scored.gold.tolist() == [1, 0]
    base = evaluate(prompt, scorer, EXAMPLES).log_probabilities
    assert not np.allclose(found["end: nothing"].log_probabilities, base)


def test_triggers_and_demonstrations_survive(tiny_model: MaskedLanguageModel) -> None:
    heard: list[str] = []
    model = ListeningModel(tiny_model, lambda text: not heard.append(text))
    (trigger,) = tiny_model.encoder.tokenizer.convert_tokens_to_ids(["science"])
    prompt = listening_prompt(
        "{demonstrations}{trigger:1} {text} It was {mask}.",
        triggers=(TriggerTokens((trigger,), ("science",)),),
        demonstrations=(Example({"text": "warm"}, "positive"),),
    )
    wording_scores(prompt, WordScorer(model, WORDS), [Example({"text": "slow"}, "negative")])
    assert "[CLS] science warm this was great. science slow this was [MASK]. [SEP]" in heard
    assert all(text.count("science") == 2 for text in heard)


def test_what_the_model_cannot_see_is_left_out_and_costs_nothing(
    tiny_model: MaskedLanguageModel, family_models: Callable[[str], MaskedLanguageModel]
) -> None:
    uncased = ListeningModel(tiny_model, lambda text: True)
    found, notes = scores_and_notes(listening_prompt(), WordScorer(uncased, WORDS), EXAMPLES)
    assert not {"lower case", "doubled white space"} & set(found)
    assert sum("the model reads the same tokens" in note for note in notes) == 2
    assert uncased.sequences == len(found) * len(EXAMPLES)
    cased = WordScorer(family_models("roberta"), WORDS)
    assert {"lower case", "doubled white space"} <= set(
        wording_scores(listening_prompt(), cased, EXAMPLES)
    )


def test_a_wording_that_does_not_fit_is_left_out_with_a_note(
    tiny_model: MaskedLanguageModel,
) -> None:
    # 48 tokens are all that the model takes: "overall" is more pieces than "all in all".
    template = "{text} " + "very " * 36 + "All in all, it was {mask}."
    prompt = listening_prompt(template)
    found, notes = scores_and_notes(prompt, WordScorer(tiny_model, WORDS), EXAMPLES)
    assert "'All in all,' as 'Overall,'" not in found
    assert "end: nothing" in found
    (note,) = [note for note in notes if "Overall" in note]
    assert "is left out: template" in note
    assert "shorten it" in note


def test_label_words_that_cannot_be_written_leave_a_wording_out(
    family_models: Callable[[str], MaskedLanguageModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = family_models("bert")
    real = model.encoder.word_ids

    def word_ids(frame, word):
        if "This was" in frame.template.text:
            raise VerbalizerError(f"the word {word!r} melts into the text")
        return real(frame, word)

    monkeypatch.setattr(model.encoder, "word_ids", word_ids)
    found, notes = scores_and_notes(listening_prompt(), WordScorer(model, WORDS), EXAMPLES)
    assert "'It was' as 'It is'" in found
    assert "'It was' as 'This was'" not in found
    assert any("melts into" in note for note in notes)


def test_a_spread() -> None:
    spread = Spread.of([0.75, 0.5, 1.0])
    assert spread == Spread(3, 0.5, 1.0, 0.25)
    assert spread.to_dict() == {"wordings": 3, "low": 0.5, "high": 1.0, "deviation": 0.25}
    assert str(spread) == "0.500 to 1.000 over 3 wordings (standard deviation 0.250)"
    assert Spread.of([0.5]) == Spread(1, 0.5, 0.5, 0.0)
    with pytest.raises(InputError, match="one value at least"):
        Spread.of([])
