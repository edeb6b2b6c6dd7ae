"""Every link inside the built site leads to a page and a place that exist; one that does not is a warning,
and with ``-W`` an error."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sphinx.util import logging

logger = logging.getLogger(__name__)


class _Page(HTMLParser):
    """The places of a page that a link can name, and the links in it."""

    def __init__(self, text):
        super().__init__()
        self.places, self.links = {""}, set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id" or (tag == "a" and name == "name"):
                self.places.add(value)
            elif name in {"href", "src"} and value:
                self.links.add(value)


def broken(root):
    """(page, link) of each link that leads nowhere in the folder of a built site."""
    root = Path(root).resolve()
    pages = {
        path: _Page(path.read_text(encoding="utf-8"))
        for path in root.rglob("*.html")
        if "_static" not in path.parts
    }
    for path, page in sorted(pages.items()):
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue  # not ours
            to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            place = unquote(parts.fragment) if to in pages and not parts.fragment.startswith(":~:") else ""
            if not to.exists() or (to in pages and place not in pages[to].places):
                yield path.relative_to(root), link


def _check(app, error):
    if error is None and app.builder.format == "html":
        for page, link in broken(app.outdir):
            logger.warning("%s: the link %s leads nowhere", page, link, type="links")


def setup(app):
    """Look once the pages are written."""
    app.connect("build-finished", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
