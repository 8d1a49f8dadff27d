"""What ``hpcscale scaling --json`` prints: everything, raw."""

from __future__ import annotations

from typing import Any

from hpcscale.report.laws.analysis import Analysis, Answer, At, LineAnswer
from hpcscale.report.laws.training import Bill
from hpcscale.report.laws.validation import Validation


def document(found: Analysis) -> dict[str, Any]:
    """Everything, raw: shares of 1, seconds, devices."""
    question = found.question
    return {
        "efficiency": question.efficiency, "to": question.to, "fit_on": question.fit_on,
        "training": question.training and question.training.title,
        "lines": [_line_document(each) for each in found.lines],
        "others": [
            {"series": row["series"], "nodes": row["nodes"], "devices": row["devices"], "step_seconds": row["step_seconds"],
             "training": _bill_document(bill)}
            for row, bill in found.others
        ],
        "notes": list(found.reasons),
    }  # fmt: skip


def _line_document(each: LineAnswer) -> dict[str, Any]:
    line = each.line
    return {
        "series": line.name, "kind": line.kind, "batch": line.batch, "unit": line.unit,
        "devices_per_node": line.devices_per_node,
        "rows": [
            {
                "devices": place.devices, "nodes": place.nodes, "step_seconds": place.seconds,
                "tokens_per_second": place.throughput, "efficiency": place.efficiency,
                "efficiency_low": place.efficiency_low, "efficiency_high": place.efficiency_high,
                "serial_fraction": place.serial_fraction, "held_out": place in each.held_out,
                "training": _bill_document(bill), "record": place.row["record"],
            }
            for place, bill in zip(line.places, each.bills, strict=True)
        ],
        "laws": [_answer_document(answer) for answer in each.answers],
        "ranked": [{"law": answer.judged.name, "error": error, "tests": tests} for answer, error, tests in each.ranked],
    }  # fmt: skip


def _answer_document(answer: Answer) -> dict[str, Any]:
    judged, knee = answer.judged, answer.knee
    if judged.fit is None:
        return {"law": judged.name, "reason": judged.reason}
    return {
        "law": judged.name,
        "parameters": {name: {"value": value, "low": low, "high": high} for name, (value, low, high) in judged.fit.parameters.items()},
        "one_left_out_error": judged.validation.one_out_error, "larger_foreseen_error": judged.validation.larger_error,
        "validation": _validation_document(judged.validation),
        "knee": knee and {"devices": knee.devices, "low": knee.low, "high": knee.high},
        "to": answer.to and _at_document(answer.to), "held_out": [_at_document(at) for at in answer.held_out],
    }  # fmt: skip


def _validation_document(found: Validation) -> dict[str, Any]:
    return {
        name: [
            {"devices": each.devices, "from": each.from_devices, "error": each.error, "covered": each.covered}
            for each in group
        ]
        for name, group in (("one_left_out", found.one_out), ("larger_foreseen", found.larger))
    }


def _at_document(at: At) -> dict[str, Any]:
    return {
        "devices": at.devices, "step_seconds": at.seconds, "low": at.low, "high": at.high, "tokens_per_second": at.tokens_per_second,
        "efficiency": at.efficiency, "error": at.error, "inside": at.inside, "training": _bill_document(at.bill),
    }  # fmt: skip


def _bill_document(bill: Bill | None) -> dict[str, float | None] | None:
    return bill and {
        "seconds": bill.seconds, "node_hours": bill.node_hours, "device_hours": bill.device_hours,
        "megawatt_hours": bill.megawatt_hours,
    }  # fmt: skip
