"""Templates that a model writes for a search: from its best seed, once, and kept in the study."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.study import Study

from autoprompt.errors import InputError, ModelError
from autoprompt.models.infilling import SentinelInfiller
from autoprompt.scoring.ledger import Spent
from autoprompt.searching.candidates import ModelTemplate
from autoprompt.searching.generation import Generated, fill, generate_with_t5
from autoprompt.searching.records import Record
from autoprompt.searching.trials import TrialRunner
from autoprompt.templates import Template

WRITTEN_TEMPLATES = "templates by the model"
FILL_EXAMPLES = 8
PAPER_SHOTS = 16  # examples a label that LM-BFF writes templates for
T5_BEAM = 100  # as LM-BFF's


class TemplateWriter:
    """Writes the templates that a space asks of a model.

    Args:
        runner: scores candidates; its table takes the templates, its model may write them.
        conditioned: whether they are written around the gold label's word; a T5 always does so.
        infiller: a T5 that writes them, or None: the model itself does.

    Raises:
        InputError: an infiller is given, and no templates are asked for.
        ModelError: the model is to write them, and cannot.
    """

    def __init__(
        self, runner: TrialRunner, conditioned: bool, infiller: SentinelInfiller | None
    ) -> None:
        self.runner = runner
        self.table = runner.table
        self.conditioned = conditioned or infiller is not None
        self.infiller = infiller
        identity = runner.scorer.model.identity
        if infiller is not None and not self.table.space.generated:
            raise InputError(
                "a generator of templates is named, and neither the space (`generated` under "
                "`templates`) nor the recipe asks for templates; leave one out, or ask for some"
            )
        if self.table.space.generated and infiller is None and identity.family != "masked":
            raise ModelError(
                f"{identity.name!r}, a {identity.family} model, cannot fill masks in a template; "
                f"name a T5 with --generator, or ask for no templates by the model"
            )

    def is_awaited(self, study: Study) -> bool:
        """Whether templates are asked for and the study has none yet."""
        return bool(self.table.space.generated) and WRITTEN_TEMPLATES not in study.user_attrs

    def write(self, study: Study, records: Sequence[Record], left: int | None) -> Spent:
        """Let the table have the templates; those that the study has are not written again.

        Args:
            study: keeps them.
            records: of the seeds.
            left: forwards that writing may take; None stands for no limit.

        Returns:
            What writing cost, whenever it was.
        """
        if not self.table.space.generated:
            return Spent()
        known = study.user_attrs.get(WRITTEN_TEMPLATES)
        if known is None:
            generated, spent = self._generated(records, left)
            known = {
                "templates": [[g.template.text, list(g.edits)] for g in generated],
                "spent": spent.to_dict(),
            }
            study.set_user_attr(WRITTEN_TEMPLATES, known)
        self.table.written = [
            ModelTemplate(Template.parse(text), tuple(path)) for text, path in known["templates"]
        ]
        by = self.infiller.name if self.infiller else "the model"
        self.table.generator = f"filled in by {by}"
        self.table.written_with_labels = self.conditioned
        return Spent.from_dict(known["spent"])

    def _generated(
        self, records: Sequence[Record], left: int | None
    ) -> tuple[list[Generated], Spent]:
        space, data = self.table.space, self.runner.data
        best = max(
            (record for record in records if record.outcome is not None),
            key=lambda record: (_value(record), -record.proposal),
        )
        words = self.table.verbalizers[self.table.seed_words(best.proposal)]
        first = {label: group[0] for label, group in zip(words.labels, words.words, strict=True)}
        if self.infiller is not None:
            beam, placements = T5_BEAM, len(space.fields) - 1 or 2
            if left is not None:
                beam = min(beam, left // (len(data.fit) * placements))
            if not beam:
                return [], Spent()
            return generate_with_t5(
                self.infiller, data.fit, space.fields, first, beam=beam, most=space.generated
            )
        most = PAPER_SHOTS * len(space.labels) if self.conditioned else FILL_EXAMPLES
        return fill(
            self.runner.scorer.model,
            space.seeds[best.proposal].template,
            data.fit[:most],
            first if self.conditioned else None,
            most=space.generated,
            forwards=left,
        )


def _value(record: Record) -> float:
    value = record.outcome.value if record.outcome else None
    return value if value is not None else float("-inf")
