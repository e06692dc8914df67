"""Writing a tuned model: weights, prompt, record, card; it is loaded again before it counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from autoprompt.errors import ScoringError
from autoprompt.files import write_atomically, write_json
from autoprompt.lineage import Edit
from autoprompt.models.loading import load_model
from autoprompt.models.transformer import TransformerModel
from autoprompt.objective import Scored
from autoprompt.prompts import ABOVE, BESIDE, Prompt
from autoprompt.scoring.metrics import Measure
from autoprompt.tasks.examples import Example, split_digest
from autoprompt.tuning.card import card_of, file_of
from autoprompt.tuning.lessons import Assignment
from autoprompt.tuning.measuring import SAME, is_too_sure, measures_of, scores_of
from autoprompt.tuning.memory import peak_memory
from autoprompt.tuning.methods import Method
from autoprompt.tuning.output import TunedDirectory
from autoprompt.tuning.results import TunedTask, TuningResult, versions
from autoprompt.tuning.settings import TuningSettings
from autoprompt.tuning.trained import Trained


class Asked(Protocol):
    """What is known of a request; see `tuning.Request`."""

    @property
    def assignments(self) -> tuple[Assignment, ...]:
        """What was learnt."""
        ...

    @property
    def settings(self) -> TuningSettings:
        """How."""
        ...

    @property
    def tests(self) -> tuple[tuple[Example, ...], ...]:
        """Test examples of each, or none."""
        ...

    @property
    def plan_name(self) -> str:
        """Which plan."""
        ...


def ship(
    request: Asked,
    model: TransformerModel,
    method: Method,
    trained: Trained,
    untuned: Sequence[dict[str, Measure]],
    directory: TunedDirectory,
    origins: Sequence[str] = (),
) -> TuningResult:
    """Write the model, load it again, measure what was loaded, and write the rest.

    Args:
        request: what was asked for.
        model: trained.
        method: by which.
        trained: how the training went.
        untuned: measures on dev before, for each task.
        directory: where to.
        origins: what the prompts are, for people.

    Raises:
        ScoringError: the model scores otherwise when it is loaded again.
    """
    peak = peak_memory(model.module.device.type)  # of tuning: a second model is loaded next
    directory.prompt.unlink(missing_ok=True)
    method.save(model, directory.path)
    again = load_model(
        str(directory.path),
        device=str(model.module.device),
        dtype="float32",
        max_length=model.encoder.max_length,
    )
    assert isinstance(again, TransformerModel)
    tasks = []
    for number, one in enumerate(request.assignments):
        before, scored = untuned[number], _scored_again(model, again, one, directory)
        if trained.held_out:  # folds have been fitted to dev
            before = measures_of(trained.held_out_before[number])
            scored = trained.held_out[number]
        after = measures_of(scored)
        test = request.tests[number] if number < len(request.tests) else ()
        on_test = scores_of(again, one.prompt, test).measures() if test else {}
        prompt = _prompt_of(one, request.settings, again, after, bool(trained.held_out))
        if test:
            prompt = prompt.with_scores("test", _records(on_test), split_digest(test))
        seen = len(one.train) + len(one.dev)
        sure = is_too_sure(scored)
        tasks.append(TunedTask(one.name, prompt, one.metric, before, after, on_test, seen, sure))
    _write_prompts(directory, tasks)
    result = TuningResult(
        out=directory.path,
        tasks=tuple(tasks),
        trained=trained,
        settings=request.settings,
        base=model.identity,
        parameters=sum(p.numel() for p in model.module.parameters() if p.requires_grad),
        all_parameters=sum(p.numel() for p in again.module.parameters()),
        seconds=trained.seconds,
        peak_memory=peak,
        bytes_to_ship=directory.bytes_to_ship(),
    )
    _write_record(directory, result, request, origins)
    # Last: it means that all is there. Of several tasks it is the first one's.
    tasks[0].prompt.save(directory.prompt)
    return result


def _scored_again(
    model: TransformerModel, again: Any, one: Assignment, directory: TunedDirectory
) -> Scored:
    """Scores on dev of the model as it was loaded again, which must be those of the trained."""
    before, after = (scores_of(each, one.prompt, one.dev) for each in (model, again))
    losses = [float(each.losses().mean()) for each in (before, after)]
    if abs(losses[1] - losses[0]) > SAME:
        raise ScoringError(
            f"the model in {directory.path} scores otherwise when it is loaded again "
            f"(cross-entropy {losses[1]:.4f} on dev, {losses[0]:.4f} before); this "
            f"method does not suit this model: choose another one"
        )
    return after


def _prompt_of(
    one: Assignment, settings: TuningSettings, model: Any, after: dict[str, Measure], folds: bool
) -> Prompt:
    """The prompt as it is shipped: on the tuned model, with its scores there."""
    prompt = one.prompt
    words = {label: tuple(group) for label, group in prompt.verbalizer.as_dict().items()}
    found = replace(
        prompt,
        model=replace(model.identity, name=BESIDE),
        tokens=model.encoder.record(prompt.frame, prompt.verbalizer.all_words),
        lineage=(*prompt.lineage, Edit(f"tuned ({settings.method})", prompt.shown, words)),
        scores={},
        splits={"train": split_digest(one.train), "dev": split_digest(one.dev)},
        versions=versions(),
        seed=settings.seed,
    )
    if folds:
        both = split_digest([*one.learnt, *one.dev])
        return found.with_scores("selection", _records(after), both)
    return found.with_scores("dev", _records(after), split_digest(one.dev))


def _write_record(
    directory: TunedDirectory, result: TuningResult, request: Asked, origins: Sequence[str]
) -> None:
    """What was done, for programs and for people."""
    read = [test for test in request.tests if test]
    record = {
        **result.to_dict(),
        "origins": list(origins),
        "plan": request.plan_name,
        # As a verdict has them: see `RunDirectory.neighbours_test_reads`.
        "test_digest": split_digest(read[0]) if read else "",
        "test_digests": [split_digest(test) for test in read],
        "own_test_reads": int(bool(read)),
    }
    write_json(directory.record, record)
    write_atomically(directory.card, card_of(record))


def _write_prompts(directory: TunedDirectory, tasks: Sequence[TunedTask]) -> None:
    """One file for each of several tasks."""
    if len(tasks) == 1:
        return
    directory.prompts.mkdir(exist_ok=True)
    for number, task in enumerate(tasks, start=1):
        assert task.prompt.model is not None
        model = replace(task.prompt.model, name=ABOVE)
        place = directory.prompts / file_of(number, task.name)
        replace(task.prompt, model=model).save(place)


def _records(measures: dict[str, Measure]) -> dict[str, Any]:
    return {name: one.to_dict() for name, one in measures.items()}
