"""A page looked at by a real browser: headless Chromium, without network, at a phone's width."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--hide-scrollbars",
    "--allow-file-access-from-files",  # so that the frame around the page may look into it
)
AROUND = """<!doctype html><iframe id=page src=page.html style="width:390px;height:844px;border:0">
</iframe><pre id=found></pre><script>onload = () => {
  const inside = page.contentDocument, view = page.contentWindow;
  const seen = (query) => [...inside.querySelectorAll(query)].filter(
    (one) => view.getComputedStyle(one).display !== 'none').length;
  const choose = (id) => { inside.getElementById(id).checked = true; };
  let result; try { result = (PROBE)(inside, view, seen, choose); } catch (e) { result = String(e) }
  found.textContent = 'FOUND' + encodeURIComponent(JSON.stringify(result)) + 'END';
}</script>"""


def chromium(folder: Path, *words: str) -> str:
    """Run Chromium with a profile of its own; return what it writes."""
    assert CHROMIUM is not None
    done = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", *words],
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    return done.stdout


def probe(html: str, folder: Path, script: str) -> Any:
    """Open a page 390 pixels wide and ask it something.

    Args:
        html: the page.
        folder: for the files.
        script: a JavaScript function of the page's document and window, of `seen(query)`, which
            counts the elements that are not hidden, and of `choose(id)`, which checks an input.
    """
    from urllib.parse import unquote

    (folder / "page.html").write_text(html, encoding="utf-8")
    (folder / "around.html").write_text(AROUND.replace("PROBE", script), encoding="utf-8")
    written = chromium(folder, "--dump-dom", (folder / "around.html").as_uri())
    found = re.search(r">FOUND(.*?)END<", written)
    assert found, written[-2000:]
    return json.loads(unquote(found[1]))
