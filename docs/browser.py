"""Look at the built pages as readers do: ``python docs/browser.py docs/_build [--shots FOLDER]``.

Every page is opened in Chromium at the widths of a phone, a tablet, laptops and large screens, in
light and in dark. It ends with an error if a page is wider than its window, a message of an error
scrolls sideways, the text has less room in a larger window, a link or an anchor is dead, or axe,
which tests what screen readers and weak eyes need, finds a violation.
"""

import argparse
import functools
import http.server
import pathlib
import shutil
import sys
import threading
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, sync_playwright

#: A phone, a tablet, laptops, large screens. The layout changes at 736, 1008, 1072, 1440 and 1552.
WIDTHS = (360, 768, 1024, 1216, 1280, 1366, 1440, 1600, 1920)
SCHEMES = ("light", "dark")
#: axe takes a second a page: it looks at each width and each scheme once.
AXED = {(1280, "light"), (360, "dark")}
#: Pages that Sphinx makes by itself, and whose looks are the theme's.
MADE = {"genindex.html", "py-modindex.html"}
#: All windows in which the text is measured: between two of WIDTHS it may shrink, and grow again.
WINDOWS = range(360, 2561, 8)
COLUMN = "document.querySelector('article').clientWidth"
#: Blocks of text that are wider than their box.
SCROLLING = """() => [...document.querySelectorAll('pre')]
  .filter((box) => box.scrollWidth > box.clientWidth)
  .map((box) => box.textContent.slice(0, 60))"""
#: What is to the right of the window, and in no box that scrolls.
OVERFLOW = """() => {
  const wide = document.documentElement.clientWidth + 1;
  const scrolls = (node) => {
    for (let up = node; up && up !== document.body; up = up.parentElement) {
      const style = getComputedStyle(up);
      if (style.position === 'fixed' || /auto|scroll|hidden/.test(style.overflowX)) return true;
    }
    return false;
  };
  return [...document.querySelectorAll('body *')]
    .filter((node) => node.getBoundingClientRect().right > wide && !scrolls(node))
    .slice(0, 3)
    .map((node) => node.outerHTML.slice(0, 120));
}"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server that does not log."""

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


def links(page: Page, name: str, ids: dict[str, set[str]], folder: pathlib.Path) -> Iterator[str]:
    """List the links of a page that lead nowhere."""
    for link in page.eval_on_selector_all("a[href]", "all => all.map(a => a.getAttribute('href'))"):
        parts = urllib.parse.urlsplit(link)
        if parts.scheme:
            continue
        target = urllib.parse.urljoin(name, urllib.parse.unquote(parts.path)) or name
        anchor = urllib.parse.unquote(parts.fragment)
        if target.endswith(".html") and not (folder / target).is_file():
            yield f"no page: {link}"
        elif anchor and target in ids and anchor not in ids[target]:
            yield f"no anchor: {link}"


def shrinks(page: Page) -> Iterator[str]:
    """List the windows in which the text has less room than in a smaller one."""
    before = 0
    for width in WINDOWS:
        page.set_viewport_size({"width": width, "height": 900})
        column = page.evaluate(COLUMN)
        if column < before:
            yield f"at {width} px the text has {column} px, and in a smaller window {before} px"
        before = column


def look(page: Page, name: str, axe: Any | None) -> Iterator[str]:
    """List what is wrong with a page as it is shown."""
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    if wide > 0:
        yield f"{wide} px wider than the window: {page.evaluate(OVERFLOW)}"
    if name.startswith("errors/"):
        for text in page.evaluate(SCROLLING):
            yield f"a message scrolls sideways: {text}"
    for found in axe.run(page).response["violations"] if axe else ():
        places = [node["html"][:100] for node in found["nodes"]]
        yield f"axe: {found['id']}: {found['help']}: {len(places)} places, as {places[0]}"


def serve(folder: pathlib.Path) -> str:
    """Serve a folder on a free port; return its address."""
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def seen(page: Page, name: str, width: int, axe: Any, shots: pathlib.Path | None) -> Iterator[str]:
    """List what is wrong with an opened page, in light and in dark; save pictures of both."""
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        for wrong in look(page, name, axe if (width, scheme) in AXED else None):
            yield f"{name} at {width} px, {scheme}: {wrong}"
        if shots:
            shot = f"{name.replace('/', '-').removesuffix('.html')}-{width}-{scheme}.png"
            page.screenshot(path=shots / shot, full_page=True)


def visit(folder: pathlib.Path, names: Sequence[str], shots: pathlib.Path | None) -> Iterator[str]:
    """Open every page in every way, and list what is wrong."""
    address = serve(folder)
    axe = Axe()
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        ids: dict[str, set[str]] = {}
        for width in WIDTHS:
            page = browser.new_page(viewport={"width": width, "height": 900})
            for name in names:
                page.goto(f"{address}/{name}")
                ids[name] = set(page.eval_on_selector_all("[id]", "all => all.map(e => e.id)"))
                yield from seen(page, name, width, axe, shots)
            page.close()
        page = browser.new_page()
        for name in names:
            page.goto(f"{address}/{name}")
            for wrong in links(page, name, ids, folder):
                yield f"{name}: {wrong}"
        # The layout is the same for all pages, so the last one stands for them.
        yield from shrinks(page)
        browser.close()


def main() -> None:
    """Look at a folder of pages, or at some of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--shots", type=pathlib.Path, help="save a picture of each page here")
    parser.add_argument("--only", help="look only at pages whose name has this part")
    options = parser.parse_args()
    every = sorted(str(page.relative_to(options.folder)) for page in options.folder.rglob("*.html"))
    names = [name for name in every if name not in MADE and not name.startswith("_")]
    names = [name for name in names if not options.only or options.only in name]
    if options.shots:
        options.shots.mkdir(parents=True, exist_ok=True)
    wrong = 0
    for line in visit(options.folder, names, options.shots):
        wrong += 1
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{len(names)} pages, {wrong} objections\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
