"""The soaks' stand-in for a large model: it searches as the model in its place would."""

from __future__ import annotations

import json
from pathlib import Path

from experiments.soak.material import begun, search_arguments


def test_a_search_on_a_simulated_model_comes_to_its_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = begun(search_arguments(tmp_path / "run", 8), log, "simulated:0")

    assert process.wait(300) == 0, log.read_text("utf-8")

    assert json.loads((tmp_path / "run/best.json").read_text("utf-8"))["template"]
