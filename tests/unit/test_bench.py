"""The benchmark in experiments/bench: its floor, its sides' agreement, its report."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from experiments.bench import naive, ours
from experiments.bench.floor import (
    Flops,
    Pass,
    causal_step,
    forward,
    gradient,
    training,
    trigger_step,
)
from experiments.bench.jobs import Job
from experiments.bench.measure import differences, measured
from experiments.bench.report import table
from experiments.bench.run import LINEARITY, beside, checkout
from experiments.bench.serving import UnavailableError
from experiments.bench.shapes import SHAPES, Shape
from experiments.bench.sides import Environment, Side
from experiments.bench.texts import distinct, read

TINY = Shape("tiny", "masked", 3, 8, 2, 50, True)
TEXTS = ["a fine film", "the plot was slow and very dull", "great acting", "it is a bad story"]


# -- the floor ------------------------------------------------------------------------------------


def tiny_bert() -> Any:
    config = transformers.BertConfig(
        vocab_size=TINY.vocabulary,
        hidden_size=TINY.width,
        num_hidden_layers=TINY.layers,
        num_attention_heads=TINY.heads,
        intermediate_size=4 * TINY.width,
        attn_implementation="eager",  # whose products the counter sees
    )
    return transformers.BertForMaskedLM(config).eval().requires_grad_(False)


def counted(run: Callable[[], Any]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def test_a_pass_that_is_read_everywhere_is_what_torch_counts() -> None:
    model, ids = tiny_bert(), torch.arange(7)[None]
    work = forward(TINY, Pass(7, read=7))
    assert counted(lambda: model(input_ids=ids)) == work.body + work.head


def test_a_gradient_that_is_read_everywhere_is_what_torch_counts() -> None:
    model = tiny_bert()
    embedded = torch.randn(1, 7, TINY.width, requires_grad=True)
    work = gradient(TINY, Pass(7, read=7))
    assert (
        counted(lambda: model(inputs_embeds=embedded).logits.sum().backward())
        == work.body + work.head
    )


def test_training_that_is_read_everywhere_is_what_torch_counts() -> None:
    model, ids = tiny_bert().requires_grad_(True), torch.arange(7)[None]
    work = forward(TINY, Pass(7, read=7))
    found = counted(lambda: model(input_ids=ids).logits.sum().backward())
    assert found == 3 * (work.body + work.head)
    assert training(TINY, [5, 9]).body == 3 * (
        forward(TINY, Pass(5)).body + forward(TINY, Pass(9)).body
    )


def test_the_last_layer_and_the_head_count_at_the_mask_only() -> None:
    # Width 8, length 5. A layer: 12 x 64 weights; scores and sums: 5 x 5 x 8 each.
    whole = 2 * 12 * 64 * 5 + 2 * (2 * 5 * 5 * 8)
    last = 2 * 2 * 64 * 5 + 2 * 10 * 64 + 2 * (2 * 5 * 8)
    assert forward(TINY, Pass(5)) == Flops(2 * whole + last, 2 * (64 + 8 * 50))
    assert forward(TINY, Pass(5, words=2)) == Flops(2 * whole + last, 2 * (64 + 8 * 2))


def test_a_causal_token_looks_at_what_is_before_it_and_known_tokens_cost_nothing() -> None:
    shape = replace(TINY, family="causal", transform=False, layers=2)
    # Tokens 3 and 4 of 5 are new: they look at 4 and 5 tokens.
    whole = 2 * 12 * 64 * 2 + 2 * 2 * 8 * (4 + 5)
    last = 2 * 2 * 64 * 2 + 2 * 10 * 64 + 2 * 2 * 8 * 5
    assert forward(shape, Pass(5, known=3)) == Flops(whole + last, 2 * 8 * 50)


def test_a_step_is_a_gradient_and_its_candidates() -> None:
    each = forward(TINY, Pass(5)) + forward(TINY, Pass(9))
    found = trigger_step(TINY, [5, 9], candidates=2)
    assert found == gradient(TINY, Pass(5)) + gradient(TINY, Pass(9)) + each + each
    causal = SHAPES["gpt2"]
    late = causal_step(causal, 40, first=10, flipped=[15])
    early = causal_step(causal, 40, first=10, flipped=[0])
    assert late.body < early.body
    assert late.head == early.head


def test_a_floor_is_at_the_rates_of_body_and_head() -> None:
    assert Flops(100.0, 30.0).seconds({"body": 50.0, "head": 10.0}) == 5.0


# -- the sides ------------------------------------------------------------------------------------


def job_of(kind: str, directory: Path) -> dict[str, Any]:
    """A job on a tiny model, as `jobs` makes them."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    common = {"kind": kind, "model": str(directory), "texts": TEXTS, "candidates": 6}
    words = {"negative": "terrible", "positive": "great"}
    if kind == "causal":
        start, other, swaps = (
            tokenizer(text)["input_ids"] for text in (" it was the", " text", " film book")
        )
        return {
            **common,
            "before": TEXTS[1],
            "start": start,
            "after": " it was",
            "target": " great",
            "other": " terrible",
            "checked": [start, [start[0], other[0], start[2]]],
            "tokens": swaps,
        }
    start, swaps = (
        tokenizer.convert_tokens_to_ids(one) for one in (["it", "was", "the"], ["film", "book"])
    )
    several = {"negative": ["bad", "awful"], "positive": ["good"]}
    return {
        **common,
        "template": "{text} {triggers} {mask}." if kind == "trigger" else "{text} It was {mask}.",
        "words": words,
        "templates": ["{text} It was {mask}.", "A {mask} film: {text}"],
        "verbalizers": [{label: [word] for label, word in words.items()}, several],
        "pairs": [[0, 1], [1, 0]],
        "labels": ["positive", "negative"] * 2,
        "start": start,
        "sampled": 2,
        "checked": [start, [swaps[0], *start[1:]]],
        "tokens": swaps,
        "batch": 2,
    }


@pytest.mark.parametrize(
    ("kind", "family"),
    [
        ("score", "bert"),
        ("factorised", "bert"),
        ("trigger", "bert"),
        ("causal", "gpt2"),
        ("training", "bert"),
    ],
)
def test_naive_and_ours_find_the_same_numbers(
    kind: str, family: str, model_directory: Callable[[str], Path]
) -> None:
    job = job_of(kind, model_directory(family))
    slow, fast = (side.prepare(job, "float32")[1]({"check": True}) for side in (naive, ours))
    assert slow["seconds"] > 0
    assert fast["seconds"] > 0
    found = differences(fast["numbers"], slow["numbers"])
    assert set(found) == set(slow["numbers"])
    for name, value in found.items():
        assert value == 1.0 if name == "predictions" else value < 1e-4, name


def test_numbers_that_differ_are_seen() -> None:
    reference = {"losses": [1.0, 2.0], "predictions": [0, 1, 1, 0]}
    assert differences({"losses": [1.0, 2.5]}, reference) == {"losses": 0.5}
    assert differences({"predictions": [0, 1, 0, 0]}, reference) == {"predictions": 0.75}
    assert differences({"losses": [1.0]}, reference) == {"losses": float("inf")}


def test_the_naive_loop_runs_in_float32_alone(model_directory: Callable[[str], Path]) -> None:
    with pytest.raises(UnavailableError, match="float32"):
        naive.prepare(job_of("score", model_directory("bert")), "bfloat16")


def test_a_side_that_cannot_run_is_left_out_with_its_last_words() -> None:
    job = Job(
        name="J0",
        title="nothing",
        unit="examples/s",
        work=1,
        payload={},
        sides=(Side("absent", "experiments.bench.absent"),),
        left_out={"peer": "no environment"},
        shape=TINY,
        flops=lambda _flipped: Flops(1.0, 1.0),
    )
    found = measured(job, repeats=1, threads=1, say=lambda _line: None)
    assert found["sides"] == []
    assert found["left out"]["peer"] == "no environment"
    assert "No module named" in found["left out"]["absent, float32"]


# -- data, peers, report --------------------------------------------------------------------------


def test_texts_are_different_ones() -> None:
    found = distinct(read(None), 1024)
    assert len(set(found)) == 1024
    with pytest.raises(ValueError, match="2 texts do not make 9"):
        distinct(["a b", "c"], 9)


def test_a_peer_that_cannot_be_had_says_why(tmp_path: Path) -> None:
    assert "--peers" in str(Environment(None, {}).side("nanoGCG"))
    assert "bench-peers" in str(Environment(tmp_path, {}).side("nanoGCG"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    assert "--checkout lm-bff=PATH" in str(Environment(tmp_path, {}).side("LM-BFF"))
    side = Environment(tmp_path, {"lm-bff": tmp_path}).side("LM-BFF")
    assert isinstance(side, Side)
    assert side.extra == {"checkout": str(tmp_path.resolve())}


def test_a_checkout_is_a_known_name_and_a_directory() -> None:
    assert checkout("ucinlp=a/b") == ("ucinlp", Path("a/b"))
    for wrong in ("ucinlp", "else=a", "ucinlp="):
        with pytest.raises(argparse.ArgumentTypeError, match="lm-bff, ucinlp"):
            checkout(wrong)


def side_of(name: str, seconds: list[float], dtype: str = "float32", **found: float) -> Any:
    return {
        "side": name,
        "dtype": dtype,
        "setting": f"as {name} does",
        "versions": {"torch": "2"},
        "seconds": seconds,
        "peak_mib": 512.4,
        "differences": found,
    }


def document() -> dict[str, Any]:
    return {
        "jobs": [
            {
                "job": "J1",
                "title": "one template",
                "unit": "examples/s",
                "work": 100,
                "sides": [
                    side_of("naive", [8.0, 10.0, 30.0]),
                    side_of("peer", [6.0, 5.0, 5.0], margins=3e-4),
                    side_of("ours", [2.0, 2.0, 3.0], margins=1e-6, predictions=1.0),
                    side_of("ours", [1.0, 1.0, 1.0], "bfloat16", margins=0.5, predictions=0.9),
                ],
                "floor": {
                    "gflop": 12.0,
                    "float32": {"seconds": 1.5, "body gflops": 8.0, "head gflops": 7.0},
                },
                "left out": {"other": "it was not there"},
            }
        ],
        "linearity": [
            {"templates": t, "verbalizers": v, "examples": 64, "seconds": [s, s, 9 * s]}
            for t, v, s in ((1, 50, 2.0), (4, 50, 8.0), (1, 200, 2.2))
        ],
        "options": {"repeats": 3, "threads": 2, "texts": "some", "tokenizer": "one"},
        "machine": {"load before": 0.25},
    }


def test_the_report_gives_ratios_of_medians_with_their_range() -> None:
    rows = {row.split(" | ")[0]: row.split(" | ") for row in table(document()).splitlines()}
    naive_row = rows["| naive, float32"]
    assert naive_row[1:3] == ["10", "10"]
    assert naive_row[4] == "5 [4, 10]"
    own = rows["| ours, float32"]
    assert own[1:6] == ["50", "2", "5 [4, 10]", "", "0.75"]
    assert own[7] == "margins 1e-06, predictions 100 % |"
    low = rows["| ours, bfloat16"]
    assert low[3:6] == ["10 [8, 30]", "", ""]  # no floor was measured for it
    assert "differs" not in low[7]


def test_the_report_calls_a_difference_one_and_names_who_is_left_out() -> None:
    page = table(document())
    assert "**differs: margins 0.0003**" in page
    assert page.count("differs") == 1
    assert "Left out: other: it was not there." in page
    assert "| templates x 4 | 4 | 50 | 64 | 8 | 4 | 1 |" in page
    assert "| verbalizers x 4 | 1 | 200 | 64 | 2.2 | 1.1 | 0.28 |" in page


def test_jobs_that_were_not_run_again_keep_their_figures() -> None:
    def run(load: float, *jobs: tuple[str, int], threads: int = 2) -> dict[str, Any]:
        return {
            "jobs": [{"job": name, "work": work} for name, work in jobs],
            "linearity": [{"seconds": [load]}],
            "options": {"threads": threads},
            "machine": {"cores": 2, "load before": load},
        }

    before = run(1.0, ("J1", 1), ("J1", 2), ("J3", 3))
    found = beside(before, run(2.0, ("J1", 4), ("J1", 5)), ["J1"])
    assert [(job["job"], job["work"]) for job in found["jobs"]] == [("J1", 4), ("J1", 5), ("J3", 3)]
    assert found["linearity"] == before["linearity"]
    assert found["machine"]["load before"] == 2.0
    other = run(3.0, ("J2", 6), threads=1)
    assert beside(before, other, ["J2", LINEARITY]) == other
