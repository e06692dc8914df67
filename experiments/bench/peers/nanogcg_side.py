"""nanoGCG 0.3.0: steps of its own `GCG.run`, timed from the one gradient to the next.

It keeps the keys and values of what is before the trigger tokens, computed once before the first
step; that is not counted. All candidates of a step are one batch, its default. Its filter for
tokens that do not survive re-tokenization is off, so that each step scores the whole width.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

from experiments.bench.serving import Turn, serve


def prepare(job: dict[str, Any], dtype: str) -> tuple[str, Turn]:
    """See `serving.serve`."""
    import nanogcg.gcg as theirs
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(
        job["model"], torch_dtype=getattr(torch, dtype)
    ).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(job["model"])
    config = theirs.GCGConfig(
        num_steps=2,
        optim_str_init=job["start text"],
        search_width=job["candidates"],
        filter_ids=False,
        seed=0,
        verbosity="ERROR",
    )

    class OneStep(theirs.GCG):
        """Theirs, with the time of each gradient's beginning noted; it ends at the second one."""

        begun: list[float]

        def compute_token_gradient(self, *given: Any) -> Any:
            self.begun.append(time.perf_counter())
            if len(self.begun) > 1:
                raise _StepIsOverError
            return super().compute_token_gradient(*given)

    gcg = OneStep(model, tokenizer, config)

    def turn(sent: dict[str, Any]) -> dict[str, Any]:
        gcg.begun = []
        with contextlib.suppress(_StepIsOverError):
            gcg.run(job["before"] + "{optim_str}" + job["after"], job["target"])
        found: dict[str, Any] = {"seconds": gcg.begun[1] - gcg.begun[0]}
        if sent["check"]:
            found["numbers"] = {"losses": _losses(gcg, torch.tensor(job["checked"]))}
        return found

    turn({"check": False})
    return f"width {job['candidates']} in one batch, its prefix cache on, its filter off", turn


class _StepIsOverError(Exception):
    """The measured step has ended."""


def _losses(gcg: Any, candidates: Any) -> list[float]:
    """The losses of some triggers, by its own function, after a run."""
    import torch

    count = len(candidates)
    embedded = torch.cat(
        [
            gcg.embedding_layer(candidates),
            gcg.after_embeds.repeat(count, 1, 1),
            gcg.target_embeds.repeat(count, 1, 1),
        ],
        dim=1,
    )
    found: list[float] = gcg._compute_candidates_loss_original(count, embedded).tolist()
    return found


if __name__ == "__main__":
    serve(prepare)
