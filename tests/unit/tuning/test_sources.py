"""What is known of the prompt that a tuning goes through."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tuning_material import examples, prompt

from autoprompt.tasks.task import Task
from autoprompt.tuning.sources import GIVEN, Source


def test_a_prompt_knows_whether_it_was_found_with_the_same_examples() -> None:
    task = Task(
        "t", ("text",), ("neg", "pos"), "accuracy", *(examples(8, seed=n) for n in range(3))
    )
    found = replace(prompt(), splits={**task.digests(), "test": "another"})
    source = Source(found, GIVEN, Path("prompt.json"), None)
    assert not source.saw_others(task)
    assert source.saw_others(replace(task, train=task.train[1:]))
    assert source.saw_others(replace(task, dev=task.test))
    assert not replace(source, prompt=prompt()).saw_others(task)  # a prompt that nobody searched
