"""Loading: every refusal is one line that says what is wrong and the way out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
import transformers
from safetensors.torch import load_file, save_file

from autoprompt.errors import ModelError, ScoringError
from autoprompt.models import embedded
from autoprompt.models.loading import load_model
from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.prompts import Frame
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template

WEIGHTS = "model.safetensors"
Directory = Callable[[str], Path]


@pytest.fixture
def copied(model_directory: Directory, tmp_path: Path) -> Path:
    """A whole tiny BERT, to be damaged."""
    return Path(shutil.copytree(model_directory("bert"), tmp_path / "model"))


def configure(directory: Path, **values: Any) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def refusal(name: str | Path, **options: Any) -> str:
    """The message of the ModelError that loading raises: always one line."""
    with pytest.raises(ModelError) as caught:
        load_model(str(name), **options)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    return message


def config_of(directory: Path) -> Any:
    return transformers.BertConfig.from_pretrained(directory)


# -- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["/nonexistent/model", "./nonexistent", "~/models/x", "a/b/c"])
def test_a_directory_that_does_not_exist(name: str) -> None:
    assert refusal(name) == f"no model directory at {name}; check the path"


@pytest.mark.parametrize("name", ["bert-base-uncased", "no-one/no-model", "not a name!", "x\0y"])
def test_a_name_that_cannot_be_reached(name: str) -> None:
    message = refusal(name)
    assert "check the name and the network" in message
    assert "epo id" not in message  # huggingface_hub's "Repo id must be in the form ..."


def test_a_directory_without_a_config(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path} holds no config.json; it is not a model directory"


def test_an_unknown_device(copied: Path) -> None:
    assert refusal(copied, device="toaster").endswith("try --device cpu")


# -- weights ----------------------------------------------------------------------------------


def test_no_weights(copied: Path) -> None:
    (copied / WEIGHTS).unlink()
    assert "holds no weights (*.safetensors)" in refusal(copied)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt"])
def test_pickled_weights_are_not_opened(copied: Path, name: str) -> None:
    (copied / WEIGHTS).rename(copied / name)
    message = refusal(copied)
    assert name in message
    assert "convert them with save_pretrained" in message


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:4],
        lambda data: b"",
        lambda data: b"\xff" * len(data),
    ],
    ids=["half", "four bytes", "empty", "garbage"],
)
def test_damaged_weights(copied: Path, damage: Callable[[bytes], bytes]) -> None:
    path = copied / WEIGHTS
    path.write_bytes(damage(path.read_bytes()))
    message = refusal(copied)
    assert "damaged" in message
    assert "download or copy them again" in message


@pytest.mark.parametrize(
    "kind", [transformers.BertModel, transformers.BertForSequenceClassification]
)
def test_a_checkpoint_without_a_masked_head(copied: Path, kind: Any) -> None:
    kind(config_of(copied)).save_pretrained(copied)
    message = refusal(copied)
    assert "lacks weights of its masked-LM head (cls.predictions" in message
    assert "choose a checkpoint saved from a masked language model" in message


def test_a_checkpoint_with_too_few_layers(copied: Path) -> None:
    configure(copied, num_hidden_layers=5)
    assert "lacks weights of its body" in refusal(copied)


def test_weights_of_another_size(copied: Path) -> None:
    configure(copied, hidden_size=64)
    message = refusal(copied)
    assert "do not fit its configuration (bert." in message
    assert "take config.json and weights of one checkpoint" in message


def test_weights_with_nan_do_not_score(copied: Path) -> None:
    tensors = load_file(copied / WEIGHTS)
    tensors["bert.embeddings.word_embeddings.weight"][:] = torch.nan
    save_file(tensors, copied / WEIGHTS, metadata={"format": "pt"})
    model = load_model(str(copied))
    encodings = model.encoder.encode(
        Frame(Template.parse("{text} {mask}")), [Example({"text": "film"})]
    )
    with pytest.raises(ScoringError, match="not finite"):
        model.log_probabilities(encodings, torch.arange(3).numpy())


def test_half_precision_weights_run_in_float32(copied: Path) -> None:
    tensors = {name: tensor.half() for name, tensor in load_file(copied / WEIGHTS).items()}
    save_file(tensors, copied / WEIGHTS, metadata={"format": "pt"})
    model = load_model(str(copied))
    assert isinstance(model, MaskedLanguageModel)
    assert model.module.dtype == torch.float32


# -- configurations ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["vit", "whisper"])
def test_a_model_of_no_family(copied: Path, kind: str) -> None:
    (copied / "config.json").write_text(json.dumps({"model_type": kind}))
    message = refusal(copied)
    assert f"is a '{kind}' model, which is no masked or causal or seq2seq" in message
    for known in ("masked one such as BERT", "causal one such as GPT-2", "seq2seq one such as T5"):
        assert f"a {known}" in message


@pytest.mark.parametrize("content", ["{oops", "[]", "{}", '{"model_type": "unheard-of"}'])
def test_a_config_that_is_no_config(copied: Path, content: str) -> None:
    (copied / "config.json").write_text(content)
    message = refusal(copied)
    assert "cannot load the configuration" in message
    assert "unedited copy" in message


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("hidden_size", "big", "configuration"),
        ("num_attention_heads", 5, "weights"),
        ("hidden_act", "swish-bang", "weights"),
    ],
)
def test_a_config_with_a_wrong_value(copied: Path, key: str, value: Any, what: str) -> None:
    configure(copied, **{key: value})
    assert f"cannot load the {what}" in refusal(copied)


@pytest.mark.parametrize("model_type", ["unheard-of", "bert"])
def test_code_that_a_model_brings_is_not_run(copied: Path, tmp_path: Path, model_type: str) -> None:
    classes = {"AutoConfig": "code.Config", "AutoModelForMaskedLM": "code.Model"}
    configure(copied, model_type=model_type, auto_map=classes)
    witness = tmp_path / "witness"
    (copied / "code.py").write_text(f"open({str(witness)!r}, 'w').close()\n")
    if model_type == "bert":  # transformers has its own class, so the code is not wanted
        load_model(str(copied))
    else:
        message = refusal(copied)
        assert "wants to run its own Python code; read it, then pass --trust-remote-code" in message
    assert not witness.exists()


# -- tokenizers -------------------------------------------------------------------------------


def test_no_tokenizer(copied: Path) -> None:
    """transformers makes one of five special tokens then, and every word is unknown."""
    for path in copied.glob("tokenizer*"):
        path.unlink()
    assert "has no tokenizer; put the checkpoint's tokenizer.json" in refusal(copied)


@pytest.mark.parametrize("content", ["{oops", "{}"])
def test_a_damaged_tokenizer(copied: Path, content: str) -> None:
    (copied / "tokenizer.json").write_text(content)
    assert "cannot load the tokenizer" in refusal(copied)


def test_a_tokenizer_without_a_mask(copied: Path) -> None:
    vocabulary = tiny_models.wordpiece_vocabulary()
    transformers.BertTokenizer(vocabulary, mask_token=None).save_pretrained(copied)
    configured = json.loads((copied / "tokenizer_config.json").read_text())
    configured.update(mask_token=None, tokenizer_class="PreTrainedTokenizerFast")
    (copied / "tokenizer_config.json").write_text(json.dumps(configured))
    assert "no mask token" in refusal(copied)


def test_a_tokenizer_of_a_larger_model(copied: Path) -> None:
    vocabulary = tiny_models.wordpiece_vocabulary()
    larger = {**vocabulary, **{f"word{at}": len(vocabulary) + at for at in range(9)}}
    transformers.BertTokenizer(larger).save_pretrained(copied)
    message = refusal(copied)
    assert f"tokenizer of {len(larger)} entries and embeddings for {len(vocabulary)}" in message


# -- what is loaded ---------------------------------------------------------------------------


def test_flipped_bytes_change_the_digest(copied: Path) -> None:
    before = load_model(str(copied)).identity
    path = copied / WEIGHTS
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    after = load_model(str(copied)).identity
    assert after.weights != before.weights
    assert after.tokenizer == before.tokenizer


def test_a_directory_names_itself(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copied.parent)
    identity = load_model("model").identity
    assert identity.name == str(copied.resolve())
    assert (identity.family, identity.revision) == ("masked", "")


@pytest.mark.parametrize(("wanted", "given"), [(20, 20), (tiny_models.MAX_LENGTH, 1000)])
def test_a_length_lowers_the_model_s_own(copied: Path, wanted: int, given: int) -> None:
    assert load_model(str(copied), max_length=given).encoder.max_length == wanted


@pytest.fixture
def on_hub(copied: Path, hub_cache: Path) -> Path:
    """The snapshot of the hub's "someone/tiny" in the cache."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    root = hub_cache / "models--someone--tiny"
    shutil.rmtree(root, ignore_errors=True)
    snapshot = Path(shutil.copytree(copied, root / "snapshots" / commit))
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(commit)
    return snapshot


def test_a_cached_model_of_the_hub_loads_offline(on_hub: Path, copied: Path) -> None:
    found, copy = load_model("someone/tiny").identity, load_model(str(copied)).identity
    assert (found.name, found.revision) == ("someone/tiny", on_hub.name)
    assert (found.weights, found.tokenizer) == (copy.weights, copy.tokenizer)


@pytest.mark.parametrize("part", ["AutoTokenizer", "AutoModelForMaskedLM"])
def test_all_parts_are_of_one_commit(
    on_hub: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    asked: list[str] = []
    plain = getattr(transformers, part).from_pretrained

    def noted(source: str, **options: Any) -> Any:
        asked.append(options["revision"])
        return plain(source, **options)

    monkeypatch.setattr(getattr(transformers, part), "from_pretrained", noted)
    load_model("someone/tiny", revision="main")
    assert asked == [on_hub.name]


def test_a_revision_that_is_not_there(on_hub: Path) -> None:
    assert load_model("someone/tiny", revision=on_hub.name).identity.revision == on_hub.name
    assert "check the name and the network" in refusal("someone/tiny", revision="v9")


def test_pickled_weights_of_the_hub_are_not_opened(on_hub: Path) -> None:
    (on_hub / WEIGHTS).rename(on_hub / "pytorch_model.bin")
    message = refusal("someone/tiny")
    assert "cannot load the weights of 'someone/tiny'" in message
    assert "weights must be safetensors" in message


def test_loading_leaves_transformers_logging_as_it_was(copied: Path) -> None:
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load_model(str(copied))
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (level, bar)


def test_loading_prints_nothing(copied: Path, capfd: pytest.CaptureFixture[str]) -> None:
    transformers.BertModel(config_of(copied)).save_pretrained(copied)
    capfd.readouterr()
    refusal(copied)
    assert capfd.readouterr() == ("", "")


def test_an_installation_without_the_embedded_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in embedded.FOLDERS:
        monkeypatch.setitem(embedded.FOLDERS, name, tmp_path / name)
        message = refusal(name)
        assert f"lacks the model {name!r}" in message
        assert "install autoprompt again, or name another model" in message
