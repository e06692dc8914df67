"""The stand-alone file gives the label scores of `Predictor`, on every family."""

from __future__ import annotations

import contextlib
import io
import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import tiny_models
from command_line import environment
from export_prompts import CHAT, MANY, TEXTS, exported, label_scores, prompt_for
from hypothesis import given
from hypothesis import strategies as st

from autoprompt.errors import InputError
from autoprompt.models.transformer import TransformerModel
from autoprompt.prompts import Prompt
from autoprompt.tasks.examples import Example

Models = Callable[[str], TransformerModel]
SHOWN = (
    Example({"text": "a warm film"}, "positive"),
    Example({"text": "so slow"}, "negative"),
    Example({"text": "the story was slow and the acting was terrible"}, "negative"),
)
LONG = "the story was slow and the acting was not very good , " * 12
PAIR = "{text_a} ? {text_b} , {mask}"


def classifier(path: Path) -> Any:
    """The file's class, from the file run as a script is (but for its main part)."""
    return runpy.run_path(str(path))["Classifier"]()


def check(prompt: Prompt, model: TransformerModel, path: Path, texts: tuple[Any, ...]) -> None:
    exported("transformers", prompt, path, model)
    rows = [{"text": text} if isinstance(text, str) else text for text in texts]
    found = classifier(path).scores(rows).numpy()
    np.testing.assert_allclose(found, label_scores(prompt, model, texts), atol=2e-4)


@pytest.mark.parametrize(
    "family", [*tiny_models.FAMILIES, *tiny_models.CAUSAL, *tiny_models.SEQ2SEQ]
)
def test_all_that_a_prompt_may_have(family: str, family_models: Models, tmp_path: Path) -> None:
    """Words of several tokens, calibration, demonstrations, triggers, special tokens in texts."""
    model = family_models(family)
    template = "{demonstrations}{trigger:2} {text} It was {mask}."
    ids = model.encoder.text_ids(" story movie")[-2:]
    prompt = prompt_for(
        model, template, MANY, calibrated=True, triggers=[ids], demonstrations=SHOWN
    )
    check(prompt, model, tmp_path / "prompt.py", (*TEXTS, LONG))


@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "gpt2", "llama", "t5", "bart"])
def test_a_plain_prompt(family: str, family_models: Models, tmp_path: Path) -> None:
    model = family_models(family)
    prompt = prompt_for(model, words=MANY, aggregation="mean")
    check(prompt, model, tmp_path / "prompt.py", (*TEXTS, LONG))


@pytest.mark.parametrize("family", ["bert", "roberta", "t5", "bart"])
def test_the_mask_in_front(family: str, family_models: Models, tmp_path: Path) -> None:
    model = family_models(family)
    prompt = prompt_for(model, "({mask}) {text}", MANY)
    check(prompt, model, tmp_path / "prompt.py", (*TEXTS, LONG))


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2", "mistral"])
def test_a_chat(family: str, family_models: Models, tmp_path: Path) -> None:
    """With a chat template that trims messages, one that does not, and none at all."""
    model = family_models(family)
    check(prompt_for(model, CHAT, MANY), model, tmp_path / "plain.py", (*TEXTS, LONG))
    shown = prompt_for(
        model, CHAT.replace("{user:}", "{user:}{demonstrations}"), demonstrations=SHOWN[:1]
    )
    check(shown, model, tmp_path / "shown.py", (*TEXTS, LONG))
    ids = model.encoder.text_ids(" story movie")[-2:]
    triggered = prompt_for(model, CHAT.replace("Is it", "{trigger:2} Is it"), triggers=[ids])
    check(triggered, model, tmp_path / "triggered.py", (*TEXTS, LONG))


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_two_fields(family: str, family_models: Models, tmp_path: Path) -> None:
    model = family_models(family)
    prompt = prompt_for(model, PAIR)
    texts = ({"text_a": "a film", "text_b": LONG}, {"text_a": LONG, "text_b": LONG})
    check(prompt, model, tmp_path / "prompt.py", texts)


@pytest.fixture(scope="module")
def bert_classifier(family_models: Models, tmp_path_factory: pytest.TempPathFactory) -> Any:
    model = family_models("bert")
    path = tmp_path_factory.mktemp("standalone") / "prompt.py"
    return classifier(exported("transformers", prompt_for(model, words=MANY), path, model))


@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_any_text(text: str, family_models: Models, bert_classifier: Any) -> None:
    model = family_models("bert")
    found = bert_classifier.scores([{"text": text}]).numpy()
    wanted = label_scores(prompt_for(model, words=MANY), model, [text])
    np.testing.assert_allclose(found, wanted, atol=2e-4)


def test_a_batch_does_not_change_a_score(bert_classifier: Any) -> None:
    texts = [{"text": word * (1 + n % 7)} for n, word in enumerate(["dull ", "good film "] * 12)]
    together = bert_classifier.scores(texts).numpy()
    alone = np.concatenate([bert_classifier.scores([text]).numpy() for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_no_texts_have_no_scores(bert_classifier: Any) -> None:
    assert bert_classifier.predict([]) == []


# -- as a program -----------------------------------------------------------------------------


def run(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The file in a process that knows nothing of this package."""
    code = (
        "import runpy, sys\n"
        "sys.modules['autoprompt'] = None\n"
        f"sys.argv = {[str(path), *arguments]!r}\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def called(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The same in this process, for what is about the file's answer alone."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        mock.patch.object(sys, "argv", [str(path), *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as end:
            code = end.code
    if isinstance(code, str):  # what the interpreter prints at the end
        print(code, file=err)
        code = 1
    return subprocess.CompletedProcess([], int(str(code or 0)), out.getvalue(), err.getvalue())


def test_the_file_in_a_process_of_its_own(family_models: Models, tmp_path: Path) -> None:
    model = family_models("roberta")
    prompt = prompt_for(model, words=MANY, calibrated=True)
    path = exported("transformers", prompt, tmp_path / "prompt.py", model)
    done = run(path, "--check", *TEXTS)
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert first == "the scores of 3 samples are as they were"
    found = [json.loads(line)["probabilities"] for line in rest]
    wanted = np.exp(label_scores(prompt, model, TEXTS))
    np.testing.assert_allclose([list(row.values()) for row in found], wanted, atol=1e-4)
    assert list(found[0]) == ["negative", "positive"]


def test_a_file_of_pairs(family_models: Models, tmp_path: Path) -> None:
    model = family_models("bert")
    path = exported("transformers", prompt_for(model, PAIR), tmp_path / "prompt.py", model)
    data = tmp_path / "data.jsonl"
    data.write_text('{"text_a": "a film", "text_b": "good"}\n' * 2, encoding="utf-8")
    done = called(path, "--data", str(data))
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2
    done = called(path, "a film")
    assert done.returncode == 2
    assert "the prompt has the fields text_a, text_b; use --data" in done.stderr
    done = called(path)
    assert done.returncode == 2
    assert "give texts, --data FILE or --check" in done.stderr
    data.write_text("text_a,text_b\n", encoding="utf-8")
    done = called(path, "--data", str(data))
    assert done.returncode == 2
    assert "data.jsonl: a JSON object a line is wanted" in done.stderr


def test_another_tokenizer_is_refused(
    family_models: Models, model_directory: Callable[[str], Path], tmp_path: Path
) -> None:
    model = family_models("bert")
    path = exported("transformers", prompt_for(model), tmp_path / "prompt.py", model)
    done = called(path, "--model", str(model_directory("roberta")), "text")
    assert done.returncode == 1
    assert "other token ids: another tokenizer" in done.stderr


def test_other_weights_fail_the_check(family_models: Models, tmp_path: Path) -> None:
    model = family_models("bert")
    path = exported("transformers", prompt_for(model), tmp_path / "prompt.py", model)
    other = tiny_models.build("bert", tmp_path / "other", seed=1)
    done = called(path, "--model", str(other), "--check")
    assert done.returncode == 1
    assert "other scores than the prompt was made with" in done.stderr


def test_a_quote_in_the_prompt_stays_a_quote(family_models: Models, tmp_path: Path) -> None:
    """The prompt is data: nothing of it may run, whatever marks it holds."""
    model = family_models("roberta")
    hostile = "\"\"\" ''' \\ {{__import__('os')}} \n# {text}\t{mask}"
    check(prompt_for(model, hostile), model, tmp_path / "prompt.py", TEXTS)


def test_demonstrations_that_touch_the_word_are_refused(
    family_models: Models, tmp_path: Path
) -> None:
    model = family_models("gpt2")
    prompt = prompt_for(model, "{text} {demonstrations}{mask}", demonstrations=SHOWN[:1])
    with pytest.raises(InputError, match="its demonstrations touch the word"):
        exported("transformers", prompt, tmp_path / "prompt.py", model)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["transformers.py", "torch.py", "json.py"])
def test_a_name_that_hides_a_library_is_refused(
    name: str, family_models: Models, tmp_path: Path
) -> None:
    model = family_models("bert")
    with pytest.raises(InputError, match="hides the library of that name"):
        exported("transformers", prompt_for(model), tmp_path / name, model)
