"""Names that tell rows apart, as short as they can be."""

from __future__ import annotations

from hpcscale.report.columns import Row
from hpcscale.report.series import grouped, identity, names

# What may differ between two rows of a series of the same size, in the order in which it says most
_BETWEEN = (
    ("global_batch_size", "GBS {:,}"),
    ("micro_batch_size", "MBS {}"),
    ("dp", "dp{}"),
    ("date", "{}"),
    ("attempt", "{}"),
    ("point", "{}"),
)


def of_rows(rows: list[Row]) -> list[str]:
    """A name for each row: its series, its devices where sizes differ, and what else tells it from the others."""
    series = names(grouped(rows))
    one_size = len({row["devices"] for row in rows}) == 1
    unit = "nodes" if all(row["nodes"] == row["devices"] for row in rows) else "devices"
    found = []
    for row in rows:
        size = (
            "" if one_size or not row["devices"] else f"{row['devices']:,} {unit if row['devices'] > 1 else unit[:-1]}"
        )
        found.append(", ".join(filter(None, (series[identity(row)], size))))
    for column, words in _BETWEEN:
        alike: dict[str, list[int]] = {}
        for i, name in enumerate(found):
            alike.setdefault(name, []).append(i)
        for same in alike.values():
            if len({rows[i].get(column) for i in same}) > 1:
                for i in same:
                    if rows[i].get(column) is not None:
                        found[i] = ", ".join(filter(None, (found[i], words.format(rows[i][column]))))
    return [name or f"row {i}" for i, name in enumerate(found, 1)]
