"""A figure's SVG file as a part of a page."""

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from markupsafe import Markup

from suexp.report.theme import CATEGORIES, FAINT, INK, JUDGED, ORDERED, PAPER

EXCHANGED = {INK: "#e6edf3", FAINT: "#363d47", PAPER: "#161b22", **CATEGORIES, **ORDERED, **JUDGED}
SVG = "{http://www.w3.org/2000/svg}"
# What matplotlib draws with. Nothing else of a file gets into the page: no text, script or link.
ELEMENTS = {"svg", "g", "defs", "path", "use", "rect", "clipPath", "image"}
ATTRIBUTES = {
    *("id", "d", "style", "transform", "clip-path", "href", "viewBox"),
    *("x", "y", "width", "height"),
}
COLOURS = re.compile(f"#({'|'.join(colour[1:] for colour in EXCHANGED)})")
LOCAL = re.compile(r"#|data:image/png;base64,")


def inline_svg(directory: Path, figure: dict[str, Any]) -> Markup | None:
    """Return a figure's SVG for the inside of a page, or None when there is no such drawing.

    Its colours become the page's, so that it follows light and dark; its ids get the figure's name
    in front, since a page has one name space for all of its figures.

    Args:
        directory: the experiment's folder; a file outside it is not shown.
        figure: its ``name``, ``file`` and ``caption``.
    """
    if not figure.get("file"):
        return None
    path = (directory / str(figure["file"])).resolve()
    if path.suffix != ".svg" or directory.resolve() not in path.parents or not path.is_file():
        return None
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError:
        return None
    if root.tag.removeprefix(SVG) != "svg":
        return None
    _clean(root, re.sub(r"\W", "_", str(figure["name"])))
    for name in ("width", "height"):
        root.attrib.pop(name, None)
    root.attrib = {"role": "img", "aria-label": str(figure["caption"]), **root.attrib}
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _clean(element: ElementTree.Element, scope: str) -> None:
    """Keep what draws, without indentation, and give the ids their scope."""
    element.tag = element.tag.removeprefix(SVG)
    element.text = element.tail = None
    kept = {}
    for key, value in element.items():
        name = key.rpartition("}")[2]
        if name not in ATTRIBUTES or (name == "href" and not LOCAL.match(value)):
            continue
        if name == "id":
            value = f"{scope}-{value}"
        elif name == "href" and value.startswith("#"):
            value = f"#{scope}-{value[1:]}"
        elif name == "style":
            value = COLOURS.sub(r"var(--c\1)", value)
        kept[name] = value.replace("url(#", f"url(#{scope}-")
    element.attrib = kept
    for child in list(element):
        if str(child.tag).removeprefix(SVG) in ELEMENTS:
            _clean(child, scope)
        else:
            element.remove(child)
