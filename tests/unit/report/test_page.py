"""The report in a real browser: it asks for nothing, complains of nothing, and shows it all."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from command_line import autoprompt
from finished_run import finished_run

from autoprompt.finished_runs import FinishedRun
from autoprompt.models.transformer import TransformerModel
from autoprompt.prediction import Predictor
from autoprompt.report.model_facts import model_facts
from autoprompt.report.page import SECTIONS, page, write_report

CHROMIUM = os.environ.get("AUTOPROMPT_CHROMIUM") or shutil.which("chromium")
SWITCHES = [  # it must not look for hosts of its own
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
HOSTILE = [
    "<script>document.title = 'broken'</script>",
    "<img src=x onerror=\"document.title='broken'\"> {{ 7 * 7 }} {% if %}",
    "</style></section></main><h1 id=broken>",
    "javascript:alert(1) ' \" & &lt; \u202e",
]
Models = Callable[[str], TransformerModel]


@pytest.fixture(scope="module")
def place(family_models: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 500 trials, hostile texts in its data, with all that the model says."""
    model = family_models("bert")
    texts = [text for text in HOSTILE for _ in range(2)]
    folder = tmp_path_factory.mktemp("report") / "run"
    path = finished_run(folder, model, trials=500, texts=texts)
    run = FinishedRun.load(path)
    return write_report(run, model_facts(run, Predictor(run.best, model)))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no chromium on the path; install Debian's, or set AUTOPROMPT_CHROMIUM")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield started
        started.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page; what the browser asked for or complained of is kept on it."""
    contexts: list[Any] = []

    def open_page(path: Path, width: int = 1280, scheme: str = "light", **more: Any) -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, **more
        )
        contexts.append(context)
        shown = context.new_page()
        shown.heard = []
        shown.on("console", lambda message: shown.heard.append(message.text))
        shown.on("pageerror", lambda error: shown.heard.append(str(error)))
        shown.on("request", lambda request: shown.heard.append(request.url))
        shown.goto(path.as_uri())
        return shown

    yield open_page
    for context in contexts:
        context.close()


def test_it_asks_for_nothing_and_complains_of_nothing(
    opened: Callable[..., Any], place: Path
) -> None:
    shown = opened(place)
    shown.wait_for_timeout(300)
    assert shown.heard == [place.as_uri()]


def test_every_section_is_there(opened: Callable[..., Any], place: Path) -> None:
    shown = opened(place)
    assert [section.get_attribute("id") for section in shown.query_selector_all("section")] == [
        *SECTIONS
    ]
    for name in SECTIONS:
        assert len(shown.locator(f"#{name}").inner_text()) > 40, name
        assert shown.locator(f"nav a[href='#{name}']").count() == 1
    assert shown.title() == "autoprompt: films"
    assert shown.locator("#verdict .badge").inner_text() == "improved"
    assert shown.locator("#lineage ins").count() >= 2
    assert shown.locator("#history svg circle").count() > 100
    assert shown.locator("#saliency .up, #saliency .down").count() >= 6


def test_a_hostile_text_stays_text(opened: Callable[..., Any], place: Path) -> None:
    shown = opened(place)
    for details in shown.query_selector_all("details"):
        details.evaluate("node => { node.open = true }")
    text = shown.locator("#disagreements").inner_text()
    for hostile in HOSTILE:
        assert hostile in text
    assert shown.title() == "autoprompt: films"
    assert shown.locator("#broken, script, img").count() == 0
    assert shown.locator("main > section").count() == len(SECTIONS)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable(opened: Callable[..., Any], place: Path, width: int, scheme: str) -> None:
    """Nothing hangs over the edge, and all text stands out from what is behind it."""
    shown = opened(place, width, scheme)
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    assert [row for row in shown.evaluate(CONTRASTS) if row[0] < 4.5] == []


# The contrast of each text with the first opaque colour behind it (WCAG 2.2, 1.4.3).
CONTRASTS = """() => {
  const light = c => {
    const linear = v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
    const [r, g, b] = c.map(v => linear(v / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const colour = s => (s.match(/[\\d.]+/g) || []).map(Number);
  const found = new Map();
  for (const node of document.querySelectorAll("main *, header *, nav *")) {
    const own = [...node.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!own || node.closest("svg, .heat, .tokens")) continue;
    let behind = node, back = [0, 0, 0, 0];
    while (behind && (back[3] === 0)) {
      const c = colour(getComputedStyle(behind).backgroundColor);
      back = c.length === 3 ? [...c, 1] : c;
      behind = behind.parentElement;
    }
    const front = colour(getComputedStyle(node).color).slice(0, 3);
    const [a, b] = [light(front), light(back.slice(0, 3))].sort((x, y) => y - x);
    found.set(`${node.tagName}.${node.className}`, (a + .05) / (b + .05));
  }
  return [...found].map(([name, ratio]) => [ratio, name]);
}"""


def test_the_keyboard_reaches_everything(opened: Callable[..., Any], place: Path) -> None:
    shown = opened(place)
    shown.keyboard.press("Tab")
    assert shown.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(60):
        shown.keyboard.press("Tab")
        reached.add(
            shown.evaluate(
                "(a => a.tagName + ' ' + (a.getAttribute('href') || ''))(document.activeElement)"
            )
        )
    assert {f"A #{name}" for name in SECTIONS} <= reached
    assert {"SUMMARY ", "DIV "} <= reached  # what opens, and what scrolls
    summary = shown.locator("#history summary")
    summary.focus()
    shown.keyboard.press("Enter")
    assert shown.locator("#history details").get_attribute("open") is not None


def test_it_prints_whole(opened: Callable[..., Any], place: Path, tmp_path: Path) -> None:
    shown = opened(place)
    shown.emulate_media(media="print")
    assert not shown.locator("nav").is_visible()
    hidden = shown.locator("#history details td").first
    assert hidden.evaluate("node => node.getBoundingClientRect().height") > 0
    shown.pdf(path=tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").stat().st_size > 10_000


def test_500_trials_are_small_and_quick(opened: Callable[..., Any], place: Path) -> None:
    assert place.stat().st_size < 3_000_000
    started = time.perf_counter()
    shown = opened(place)
    load = shown.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    assert load < 1000, time.perf_counter() - started


def test_without_the_model(
    opened: Callable[..., Any], family_models: Models, tmp_path: Path
) -> None:
    path = finished_run(tmp_path / "run", family_models("bert"), kept_seed=True)
    done = autoprompt("report", path, "--without-model")
    assert (done.code, done.out) == (0, f"Wrote {path}/report.html\n")
    shown = opened(path / "report.html")
    assert shown.heard == [(path / "report.html").as_uri()]
    assert f"autoprompt report {path}" in shown.locator("#saliency").inner_text()
    assert "The winner is the best seed." in shown.locator("#disagreements").inner_text()
    assert shown.locator("#verdict .badge").inner_text() == "kept the seed"


# -- without a browser ------------------------------------------------------------------------


class Tags(HTMLParser):
    """Collects tags and addresses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses |= {value or "" for name, value in attrs if name in ("src", "href")}


def test_nothing_is_named_that_lies_elsewhere(place: Path) -> None:
    text = place.read_text(encoding="utf-8")
    found = Tags(text)
    assert not found.tags & {"script", "img", "iframe", "object", "base", "form"}
    assert all(address.startswith(("#", "data:,")) for address in found.addresses)
    style = text[text.index("<style>") : text.index("</style>")]
    assert not re.search(r"url\(|@import", style)


def test_the_test_split_is_not_shown(place: Path) -> None:
    """What stands on the page of single examples is of train and dev."""
    text = place.read_text(encoding="utf-8")
    assert set(re.findall(r'<p class="said">(\w+);', text)) <= {"train", "dev"}


def test_the_same_run_is_the_same_page(place: Path) -> None:
    run = FinishedRun.load(place.parent)
    assert page(run) == page(run)


def test_a_report_with_the_model(family_models: Models, tmp_path: Path) -> None:
    path = finished_run(tmp_path / "run", family_models("bert"), trials=3)
    done = autoprompt("report", path)
    assert done.code == 0, done.err
    text = (path / "report.html").read_text(encoding="utf-8")
    assert "Only the group of people exchanged" in text
    assert "This wants the model" not in text


def test_a_run_that_is_not_finished(tmp_path: Path) -> None:
    done = autoprompt("report", tmp_path)
    assert done.code == 2
    assert "holds no best.json; finish its search with --resume" in done.err
