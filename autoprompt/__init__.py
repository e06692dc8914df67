"""autoprompt: the best prompt for a task on a language model that you run yourself.

The public names are listed in `__all__`. They are loaded when they are first used, so that
`import autoprompt` and the command line's `--help` do not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoprompt.errors import AutopromptError
    from autoprompt.models.loading import load_model
    from autoprompt.pipeline import search
    from autoprompt.prediction import Prediction, Predictor
    from autoprompt.prompts import Prompt
    from autoprompt.results import SearchResult
    from autoprompt.searching.budget import Budget
    from autoprompt.spaces import SearchSpace
    from autoprompt.strategies import tune
    from autoprompt.tasks.examples import Example
    from autoprompt.tasks.task import Task
    from autoprompt.templates import Template
    from autoprompt.verbalizers import Verbalizer

__version__ = "0.1.0"

__all__ = [
    "AutopromptError",
    "Budget",
    "Example",
    "Prediction",
    "Predictor",
    "Prompt",
    "SearchResult",
    "SearchSpace",
    "Task",
    "Template",
    "Verbalizer",
    "load_model",
    "search",
    "tune",
]

_HOMES = {
    "AutopromptError": "autoprompt.errors",
    "Budget": "autoprompt.searching.budget",
    "Example": "autoprompt.tasks.examples",
    "Prediction": "autoprompt.prediction",
    "Predictor": "autoprompt.prediction",
    "Prompt": "autoprompt.prompts",
    "SearchResult": "autoprompt.results",
    "SearchSpace": "autoprompt.spaces",
    "Task": "autoprompt.tasks.task",
    "Template": "autoprompt.templates",
    "Verbalizer": "autoprompt.verbalizers",
    "load_model": "autoprompt.models.loading",
    "search": "autoprompt.pipeline",
    "tune": "autoprompt.strategies",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'autoprompt' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
