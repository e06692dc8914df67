"""Strict YAML: what is written is read as text, and nothing but an InputError comes out."""

import contextlib

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from autoprompt.documents import Node, parse_yaml
from autoprompt.errors import InputError, SpaceError
from autoprompt.spaces import SearchSpace

scalars = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
coerced = st.sampled_from(["no", "on", "1", "0o7", "017", "2024-01-01", "null", "~", "1e3", "<<"])
documents = st.recursive(
    scalars | coerced,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(scalars | coerced, inner, max_size=4)
    ),
    max_leaves=12,
)
noise = st.text(
    st.sampled_from("{}[]:,-?&*!|>'\"%@`#ab01 \n\t\\U\x00\x07\ufeff\ud800"), max_size=60
)


def plain(node: Node):
    if isinstance(node.value, dict):
        return {key: plain(value) for key, value in node.value.items()}
    if isinstance(node.value, list):
        return [plain(value) for value in node.value]
    return node.value


@given(documents)
def test_what_is_written_is_read(document):
    text = yaml.safe_dump(document, allow_unicode=True, default_style='"')
    assert plain(parse_yaml(text.replace("!!str ", ""), "x", SpaceError)) == document


@given(noise)
@example('"\\UFFFFFFFF"')
@example('"\\ud800"')
@example("%YAML 9.9\n--- a")
@example("? ? ? ? a")
def test_only_the_callers_error_comes_out(text):
    with contextlib.suppress(SpaceError):
        plain(parse_yaml(text, "x.yaml", SpaceError))


@given(noise)
def test_noise_in_a_space_is_an_input_error(text):
    head = "name: toy\nfields: [text]\nlabels: [neg, pos]\n"
    with pytest.raises(InputError):
        SearchSpace.parse(head + text)


@given(st.dictionaries(scalars, scalars, min_size=1, max_size=3), st.integers(0, 2))
def test_repeated_key_is_refused(mapping, which):
    key = list(mapping)[which % len(mapping)]
    lines = [f"{yaml_text(name)}: {yaml_text(value)}" for name, value in mapping.items()]
    lines.append(f"{yaml_text(key)}: again")
    with pytest.raises(SpaceError) as caught:
        parse_yaml("\n".join(lines), "x", SpaceError)
    assert f"line {len(lines)}: the key {key!r} stands twice" in str(caught.value)


def yaml_text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
