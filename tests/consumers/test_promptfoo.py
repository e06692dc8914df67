"""promptfoo runs the configuration: its `echo` provider answers with what a model would be sent."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from consumer import CONSUMERS
from export_prompts import CHAT, EXAMPLES, exported, prompt_for

from autoprompt.export.text_forms import form_of, messages_of
from autoprompt.models.transformer import TransformerModel

HOME = Path(os.environ.get(CONSUMERS, ""), "promptfoo", "node_modules")
NODE, MAIN = HOME / ".bin" / "node", HOME / "promptfoo" / "dist" / "src" / "entrypoint.js"


def evaluated(folder: Path, home: Path) -> list[dict[str, object]]:
    if not (NODE.is_file() and MAIN.is_file()):
        pytest.skip("promptfoo is not installed (make consumers)")
    out = home / "results.json"
    quiet = {
        "PROMPTFOO_DISABLE_TELEMETRY": "1",
        "PROMPTFOO_DISABLE_UPDATE": "1",
        "PROMPTFOO_DISABLE_REMOTE_GENERATION": "1",
        "PROMPTFOO_CONFIG_DIR": str(home / "promptfoo"),
        "NO_COLOR": "1",
    }
    done = subprocess.run(
        [NODE, MAIN, "eval", "-c", folder / "promptfooconfig.yaml", "-o", out, "--no-cache"],
        cwd=folder,
        env={**os.environ, **quiet},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert out.is_file(), done.stdout[-2000:] + done.stderr[-2000:]  # failed tests exit with 100
    found: list[dict[str, object]] = json.loads(out.read_text())["results"]["results"]
    return sorted(found, key=lambda row: row["testIdx"])


@pytest.mark.parametrize("template", ["{{{{ 7 }} {text}\n\nIt was {mask}.", CHAT])
def test_the_rendered_prompts(
    template: str, family_models: Callable[[str], TransformerModel], tmp_path: Path
) -> None:
    prompt = prompt_for(family_models("qwen2"), template)
    folder = exported("promptfoo", prompt, tmp_path / "promptfoo")
    rows = evaluated(folder, tmp_path)
    for row, example in zip(rows, EXAMPLES, strict=True):
        if prompt.template.is_chat:
            (*said, (_, answer)) = messages_of(prompt)
            wanted = [*said, ("assistant", answer)]
            assert json.loads(row["prompt"]["raw"]) == [
                {"role": role, "content": form.text(example.fields)} for role, form in wanted
            ]
        else:
            assert row["prompt"]["raw"] == form_of(prompt).text(example.fields)
        word = {"negative": "bad", "positive": "great"}[str(example.label)]
        (check,) = row["gradingResult"]["componentResults"]
        assert (check["assertion"]["type"], check["assertion"]["value"]) == ("starts-with", word)
