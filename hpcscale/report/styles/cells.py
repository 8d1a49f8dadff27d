"""How cells of other documents are written: which value, rounded how. None where a row does not tell."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from hpcscale.report import text
from hpcscale.report.columns import Row
from hpcscale.spec.model import Model, named
from hpcscale.spec.problems import InputError

Cell = Callable[[Row], str | None]
_SIZE = re.compile(r"(?:^|[-_])(\d+(?:\.\d+)?[bBmM])(?=$|[-_])")
_MIB = 2**20


def plain(name: str) -> Cell:
    """The value as it is, without separators."""
    return lambda row: None if row[name] is None else str(row[name])


def cut(name: str) -> Cell:
    """Without its decimals: dropped, not rounded."""
    # A quotient of whole numbers may miss one by its last bit.
    return lambda row: None if row[name] is None else str(math.floor(row[name] + 1e-6))


def decimals(name: str, places: int, scale: float = 1, unit: str = "") -> Cell:
    """With that many decimals, whatever they are."""
    return lambda row: None if row[name] is None else f"{row[name] * scale:.{places}f}{unit}"


def shortest(name: str, places: int, scale: float = 1) -> Cell:
    """Rounded to that many decimals, zeros at the end dropped: as Python prints what ``round`` gives, 48.2 for 48.20."""
    return lambda row: None if row[name] is None else _trimmed(f"{row[name] * scale:.{places}f}")


def at_least(name: str, places: int, digits: int) -> Cell:
    """With that many decimals, and more where fewer than ``digits`` digits would stay."""
    return lambda row: None if row[name] is None else _at_least(row[name], places, digits)


def digits(name: str, count: int) -> Cell:
    """So many significant digits, zeros at the end of decimals dropped: 32160 as 32200, 0.0521."""
    return lambda row: None if row[name] is None else _trimmed(f"{float(f'{row[name]:.{count}g}'):.10f}")


def half_cents(name: str) -> Cell:
    """To 0.005: the mean of two values that were printed with two decimals. Smaller ones with two digits."""

    def cell(row: Row) -> str | None:
        value = row[name]
        if value is None:
            return None
        return _trimmed(f"{round(value * 200) / 200:.3f}") if value >= 0.1 else _at_least(value, 3, 2)

    return cell


def _trimmed(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number


def _at_least(value: float, places: int, count: int) -> str:
    magnitude = math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{max(places, count - 1 - magnitude)}f}"


def word(name: str, words: dict[str, str]) -> Cell:
    """A setting in the document's word; the setting itself where the document has none for it."""
    return lambda row: None if row[name] is None else words.get(row[name], row[name])


def only(name: str, words: dict[str, str]) -> Cell:
    """A setting in the document's word, nothing where the document has none for it."""
    return lambda row: words.get(row[name] or "")


def printed(title: str, otherwise: str | None = None) -> Cell:
    """What the document's own row says there (in ``printed``), else the column ``otherwise``."""
    own = re.compile(rf"(?:^|; ){re.escape(title)} ([^;]+)")

    def cell(row: Row) -> str | None:
        found = own.search(row["printed"] or "")
        return found[1] if found else row[otherwise] if otherwise else None

    return cell


def size(row: Row) -> str | None:
    """A model's size as 30B: what its name says, else its parameters."""
    found = _SIZE.search(row["model"] or "")
    if found:
        return found[1].upper()
    count = row["parameters"]
    if count is None:
        return None
    unit, letter = (1e9, "B") if count >= 0.95e9 else (1e6, "M")
    return _trimmed(f"{float(f'{count / unit:.2g}'):.1f}") + letter


def without(prefix: str) -> Cell:
    """The model's name without the family that the document's title names."""
    return lambda row: None if row["model"] is None else row["model"].removeprefix(prefix)


def of_model(attribute: str) -> Cell:
    """A hyperparameter of the model, where the catalogue has it."""

    def cell(row: Row) -> str | None:
        model = _model(row["model"])
        return None if model is None else str(getattr(model, attribute))

    return cell


def _model(name: str | None) -> Model | None:
    try:
        return named(name) if name else None
    except InputError:
        return None  # measured rows may be of a model that their study alone describes


def clock(row: Row) -> str | None:
    """The A64FX's clock, as 2.0GHz."""
    found = re.search(r"\bfreq=(\d+)", row["resources"] or "")
    return f"{int(found[1]) / 1000:.1f}GHz" if found else None


def memory(row: Row) -> str | None:
    """As ``29087.7 MiB (OOM)``: memory and, where it ran out, that it did."""
    said = f"({row['note']})" if _tells_of_memory(row) else "(OOM)" if row["status"] == "oom" else ""
    used = f"{row['peak_memory_bytes'] / _MIB:.1f} MiB" if row["peak_memory_bytes"] else ""
    return " ".join(filter(None, (used, said))) or None


def remark(row: Row) -> str | None:
    """The date, and what the row says beside its numbers (memory's cell says what became of memory)."""
    status = None if row["status"] in ("completed", "oom") else row["status"]
    return ", ".join(filter(None, (row["date"], status, None if _tells_of_memory(row) else row["note"]))) or None


def _tells_of_memory(row: Row) -> bool:
    return row["status"] == "oom" and (row["note"] or "").startswith("OOM")


def binary_pflops(row: Row) -> str | None:
    """TFLOPs x nodes / 1024: with one decimal, below 0.1 with one digit."""
    if row["tflops_per_device"] is None or row["devices"] is None:
        return None
    return _at_least(row["tflops_per_device"] * row["devices"] / 1024, 1, 1)


def local_batch(row: Row) -> str | None:
    """Sequences of a replica and step: torchtitan's local batch size."""
    if row["global_batch_size"] and row["dp"]:
        return text.as_printed(row["global_batch_size"] / row["dp"])
    return None
