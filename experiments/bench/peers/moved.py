"""Names that older code looks for where they no longer are."""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
import types
from typing import Any


def module(name: str, **contents: Any) -> None:
    """Provide a module that is not there, with these names in it."""
    made = types.ModuleType(name)
    made.__spec__ = importlib.machinery.ModuleSpec(name, None)
    for key, value in contents.items():
        setattr(made, key, value)
    sys.modules[name] = made


def alias(old: str, new: str) -> None:
    """Let a module's former name stand for the module."""
    sys.modules[old] = importlib.import_module(new)
