"""Series, speedup and efficiency."""

from typing import Any

import pytest

from hpcscale.audit.recompute import recompute
from hpcscale.ingest import schema
from hpcscale.ingest.gather import gather
from hpcscale.report.scaling import with_scaling

Row = dict[str, Any]


def scaled(*rows: Row) -> list[Row]:
    start = {"origin": "measured", "status": "completed", "model": "m", "sharding": "ddp"}
    return with_scaling(schema.frame([{**start, **row} for row in rows]))[1]


def row(devices: int, throughput: float | None, batch: int | None, **more: Any) -> Row:
    return {"devices": devices, "dp": devices, "tokens_per_second": throughput, "global_batch_size": batch, **more}


def efficiencies(rows: list[Row]) -> list[tuple[str, float | None]]:
    return [(each["efficiency_kind"], each["efficiency"]) for each in rows]


def test_the_fugaku_rows_of_tp_4_scale_as_their_times_say():
    rows = with_scaling(recompute(gather(["megatron_30b_fugaku"]))[0])[1]
    found = {each["nodes"]: each for each in rows if each["tp"] == 4 and each["table"] == "June"}
    assert list(found) == [192, 384, 768, 1152, 1536, 3072, 6144]
    assert {each["efficiency_kind"] for each in found.values()} == {"strong"}
    assert found[6144]["speedup"] == pytest.approx(3534.8833 / 252.05295)
    assert [round(100 * each["efficiency"], 1) for each in found.values()] == [100, 96.0, 89.9, 84.0, 79.1, 62.4, 43.8]


def test_the_same_batch_is_strong_and_the_same_batch_per_device_weak():
    assert efficiencies(scaled(row(1, 100, 64), row(4, 200, 64))) == [("strong", 1.0), ("strong", 0.5)]
    assert efficiencies(scaled(row(1, 100, 64), row(4, 200, 256))) == [("weak", 1.0), ("weak", 0.5)]


def test_the_smallest_row_is_the_reference_wherever_it_stands():
    rows = scaled(row(8, 400, 64), row(2, 200, 64))
    assert [each["speedup"] for each in rows] == [2.0, 1.0]


def test_what_a_study_declares_is_checked_not_believed():
    rows = scaled(row(1, 100, 64, scaling="strong"), row(4, 300, 256, scaling="strong"))
    assert {each["efficiency_kind"] for each in rows} == {"weak"}


def test_a_declaration_settles_what_the_data_leave_open():
    batches = [(2, 64), (4, 64), (4, 128)]  # 4 devices with 64 fit the strong rule, with 128 the weak one
    strong = scaled(*(row(d, 100 * d, b, scaling="strong") for d, b in batches))
    weak = scaled(*(row(d, 100 * d, b, scaling="weak") for d, b in batches))
    assert [each["efficiency_kind"] for each in strong][:2] == ["strong", "strong"]
    assert [weak[i]["efficiency_kind"] for i in (0, 2)] == ["weak", "weak"]


def test_rows_that_no_rule_compares_have_the_reason():
    rows = scaled(row(2, 100, 64), row(4, 200, 96))
    assert efficiencies(rows) == [("no other size has its global batch, in all or per device", None)] * 2
    assert efficiencies(scaled(row(8, 100, 64), row(8, 90, 32))) == [("only one size, 8 devices", None)] * 2
    assert efficiencies(scaled(row(2, 100, None), row(4, 150, 8)))[0] == ("the global batch size is unknown", None)


@pytest.mark.parametrize("status", ["oom", "timeout", "unfinished", "missing"])
def test_a_failure_stays_a_row_and_takes_no_part(status: str):
    rows = scaled(row(1, 100, 8, status=status), row(2, 150, 8), row(4, 240, 8))
    assert [each["speedup"] for each in rows] == [None, 1.0, 1.6]
    assert rows[0]["efficiency_kind"] is None and rows[0]["series"] == rows[1]["series"]


@pytest.mark.parametrize(
    "column", ["tp", "pp", "model", "precision", "activation_checkpointing", "machine", "sequence_length"]
)
def test_another_setting_is_another_series(column: str):
    first, second = ("a", "b") if schema.DTYPES[column] == "string" else (1, 2)
    rows = scaled(row(1, 100, 8, **{column: first}), row(2, 150, 8, **{column: second}))
    assert len({each["series"] for each in rows}) == 2
    assert {each["efficiency"] for each in rows} == {None}


def test_one_replica_starts_the_series_of_every_sharding():
    rows = scaled(row(1, 100, 8), row(2, 180, 8), row(2, 150, 8, sharding="fsdp"))
    assert [each["efficiency"] for each in rows] == [1.0, 0.9, 0.75]


def test_the_faster_of_two_smallest_rows_is_the_reference():
    rows = scaled(row(1, 80, 8, micro_batch_size=1), row(1, 100, 8, micro_batch_size=2), row(2, 150, 8))
    assert rows[2]["efficiency"] == 0.75


def test_series_names_say_what_differs_and_no_more():
    rows = scaled(row(1, 1, 8, tp=1, pp=2, precision="bf16"), row(1, 1, 8, tp=4, pp=2, precision="bf16"))
    assert [each["series"] for each in rows] == ["tp1", "tp4"]
