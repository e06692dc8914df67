"""Every format, and how an export is written: whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from autoprompt.errors import InputError, UnknownNameError
from autoprompt.export.chat_rows import ChatRows
from autoprompt.export.dspy_predict import DspyPredict
from autoprompt.export.json_file import JsonFile
from autoprompt.export.lm_bff_lines import LmBffLines
from autoprompt.export.lm_eval_task import LmEvalTask
from autoprompt.export.material import DROPPABLE, Files, Format, Material, Origin, refused, without
from autoprompt.export.openprompt_files import OpenPromptFiles
from autoprompt.export.peft_adapter import PeftAdapter
from autoprompt.export.promptfoo_config import PromptfooConfig
from autoprompt.export.promptsource_templates import PromptSourceTemplates
from autoprompt.export.transformers_file import TransformersFile
from autoprompt.export.trl_rows import TrlRows
from autoprompt.files import write_atomically
from autoprompt.models.adapters import SOFT, Adapter
from autoprompt.prompts import Prompt

FORMATS: Mapping[str, Format] = {
    found.name: found
    for found in (
        JsonFile(),
        TransformersFile(),
        LmEvalTask(),
        TrlRows(),
        ChatRows(),
        PeftAdapter(),
        DspyPredict(),
        OpenPromptFiles(),
        PromptSourceTemplates(),
        PromptfooConfig(),
        LmBffLines(),
    )
}


def format_of(name: str) -> Format:
    """The format of a name.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in FORMATS:
        raise UnknownNameError("format", name, FORMATS)
    return FORMATS[name]


def material_of(
    source: str | Path, prompt: Prompt, place: str | Path, dropped: Sequence[str] = ()
) -> Material:
    """What an export is made of, before a model or examples are read.

    Args:
        source: the prompt's file or run directory.
        prompt: the prompt.
        place: where the export will stand.
        dropped: what to leave out: "calibration", "words".

    Raises:
        UnknownNameError: something else is to be left out.
    """
    for name in dropped:
        if name not in DROPPABLE:
            raise UnknownNameError("piece to leave out", name, DROPPABLE)
    origin = replace(Origin.of(source, prompt), dropped=tuple(dropped))
    return Material(without(prompt, dropped), origin, Path(place))


def check_place(place: Path, chosen: Format, force: bool) -> None:
    """Refuse a place that cannot be written, before anything is loaded.

    Raises:
        InputError: it exists (a file, and `force` is false; or a directory for a file or the other
            way round), or its parent directory does not.
    """
    if not place.parent.is_dir():
        raise InputError(f"{place.parent} is no directory; make it first, or choose another --out")
    if place.exists() and place.is_dir() == bool(chosen.suffix):
        kind = "file" if chosen.suffix else "directory"
        raise InputError(
            f"format {chosen.name!r} writes a {kind}, and {place} is none; choose another --out"
        )
    if place.exists() and not force:
        raise InputError(f"{place} exists; pass --force to replace it, or choose another place")


def export(chosen: Format, material: Material) -> list[Path]:
    """Write a prompt in a format.

    Returns:
        The files, in the order of their names.

    Raises:
        InputError: the format cannot carry the prompt, or the place cannot be written; then
            nothing is.
    """
    if material.prompt.retrieval and chosen.name != "json":
        raise refused(
            chosen.name,
            "demonstrations that are chosen for each input",
            "it has one text for all inputs",
            "search with 'select: [random, class]', or export as json and use autoprompt.Predictor",
        )
    model = material.prompt.model
    adapter = Adapter.at(model.name) if model and chosen.name != "json" else None
    if adapter is not None and adapter.kind == SOFT:
        raise refused(
            chosen.name,
            "a soft prompt",
            "its vectors are no text",
            f"ship {model.name if model else ''} itself, which peft and autoprompt.Predictor load",
        )
    chosen.check(material)
    files = chosen.files(material)
    if chosen.suffix:
        write_atomically(material.place, files[""])
        return [material.place]
    return _write_folder(material.place, files)


def _write_folder(place: Path, files: Files) -> list[Path]:
    if place.exists():  # by wish: what is there is replaced file by file
        for name, content in files.items():
            write_atomically(place / name, content)
        for old in place.glob("autoprompt_*"):  # of other prompts, by their digests
            if old.name not in files:
                old.unlink()
    else:
        try:
            half = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}."))
        except OSError as error:
            raise InputError(
                f"cannot write {place}: {error.strerror}; choose another --out"
            ) from error
        try:
            for name, content in files.items():
                write_atomically(half / name, content)
            half.chmod(0o755)
            half.rename(place)
        finally:
            with contextlib.suppress(OSError):
                shutil.rmtree(half)
    return [place / name for name in sorted(files)]
