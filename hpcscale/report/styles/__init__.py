"""Tables as five published documents print theirs: data in documents.py, how cells are written in cells.py."""

from hpcscale.report.styles.documents import STYLES, Style
from hpcscale.spec.problems import InputError, suggestion

__all__ = ["STYLES", "Style", "style"]


def style(name: str) -> Style:
    """The style of this name. Raises InputError for another."""
    if name not in STYLES:
        raise InputError(f"there is no style '{name}'{suggestion(name, STYLES)}")
    return STYLES[name]
