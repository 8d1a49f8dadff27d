"""The main check: every printed figure of the five documents follows from its own row, within what rounding leaves."""

import pytest

from hpcscale.audit.recompute import Check, recompute
from hpcscale.cost import flops
from hpcscale.ingest import schema
from hpcscale.ingest.gather import gather
from hpcscale.spec.model import named

# document -> quantity -> (figures that reproduce, largest relative error in percent; None: to the printed digits)
EXPECTED: dict[str, dict[str, tuple[int, float | None]]] = {
    "mpt_llm_foundry": {
        "parameters": (198, 0), "tokens_per_step": (198, 0), "samples_per_second": (198, None),
        "tokens_per_second_per_device": (198, None), "tflops_per_device": (198, 0.018), "mfu": (198, 0.026),
        "hfu": (198, 0.035),
    },
    "megatron_30b_fugaku": {"tflops_per_device": (15, 0.70), "aggregate_pflops": (4, None)},
    "torchtitan": {"mfu": (8, 0.09)},
    "nanotron_nemo": {
        "tflops_per_device": (5, 0.23), "tokens_per_second": (5, 0.27), "samples_per_second": (3, 0.17),
        "steps_per_second": (0, None),
    },
    "fmengine": {},
}  # fmt: skip


def checks_of(document: str) -> list[Check]:
    return recompute(gather([document]))[1]


@pytest.mark.parametrize("document", EXPECTED)
def test_a_document_reproduces_as_tightly_as_it_was_printed(document: str):
    checks = checks_of(document)
    assert {check.quantity for check in checks} == set(EXPECTED[document])
    for quantity, (number, percent) in EXPECTED[document].items():
        good = [c for c in checks if c.quantity == quantity and c.verdict == "reproduces"]
        assert len(good) == number, quantity
        if percent is not None:
            assert max(100 * check.error for check in good) <= percent, quantity


def test_what_differs_is_the_iterations_per_second_of_nemo_and_nothing_else():
    differing = [(document, c) for document in EXPECTED for c in checks_of(document) if c.verdict == "differs"]
    assert [(document, c.row, c.quantity, c.printed) for document, c in differing] == [
        ("nanotron_nemo", 5, "steps_per_second", 1.18),
        ("nanotron_nemo", 6, "steps_per_second", 0.19),
        ("nanotron_nemo", 7, "steps_per_second", 0.0518),
    ]
    assert [round(c.recomputed, 4) for _, c in differing] == [1.1393, 0.1969, 0.0521]


@pytest.mark.parametrize(
    ("document", "column", "factor"),
    [
        ("mpt_llm_foundry", "mfu_published", 1.001),
        ("mpt_llm_foundry", "parameters_published", 2),
        ("mpt_llm_foundry", "tokens_per_second_per_device_published", 1.01),
        ("megatron_30b_fugaku", "step_seconds_published", 1.03),
        ("torchtitan", "mfu_published", 1.004),
        ("nanotron_nemo", "tflops_per_device_published", 1.01),
    ],
)
def test_a_figure_that_is_off_is_found(document: str, column: str, factor: float):
    table = gather([document])
    table[column] = (table[column] * factor).astype(table[column].dtype)
    _, checks = recompute(table)
    assert sum(check.verdict == "differs" for check in checks) >= 4


def test_the_fugaku_rows_pad_their_vocabulary_for_their_tensor_parallelism():
    table, _ = recompute(gather(["megatron_30b_fugaku"]))
    rows = schema.rows(table)
    per_token = {row["tp"]: row["flops_per_token"] for row in rows if row["model"] == "gpt-30b"}
    model = named("gpt-30b")
    for tp, vocabulary in ((1, 50304), (4, 50688), (8, 51200)):
        assert model.padded_vocab(tp) == vocabulary
        assert per_token[tp] in {
            flops.convention("eq3-hardware").flops_per_token(model, 2048, tp, ac) for ac in ("full", "none")
        }
    # what padding moves is far below what printing rounds
    assert per_token[4] / per_token[1] - 1 < 2e-4


def test_hardware_tflops_give_hfu_and_three_quarters_of_it_as_mfu():
    row = schema.rows(recompute(gather(["megatron_30b_fugaku"]))[0])[1]
    assert row["peak_tflops"] == 6.144
    assert row["hfu"] == pytest.approx(row["tflops_per_device"] / 6.144)
    assert row["mfu"] == pytest.approx(row["hfu"] * 3 / 4)


def test_a_device_that_a_document_does_not_name_gives_no_mfu():
    table, _ = recompute(gather(["nanotron_nemo"]))
    assert table["mfu"].isna().all() and table["tflops_per_device"].notna().all()


def test_another_convention_changes_the_columns_and_not_the_checks():
    table = gather(["torchtitan"])
    own, own_checks = recompute(table)
    other, other_checks = recompute(table, "palm-full")
    assert own_checks == other_checks
    # audit: 8B with selective op is 58.2 % counted with its embedding, 55.2 % without
    assert round(100 * own["mfu"][1], 1) == 58.2 and round(100 * other["mfu"][1], 1) == 55.2


def test_a_model_that_the_catalogue_lacks_has_times_and_no_flops():
    rows = [{"origin": "published", "source": "x", "status": "completed", "model": "secret-1t", "devices": 8,
             "sequence_length": 10, "global_batch_size": 8, "step_seconds_published": 2.0, "flops_convention": "6N"}]  # fmt: skip
    table, checks = recompute(schema.frame(rows))
    (row,) = schema.rows(table)
    assert (row["tokens_per_second"], row["tflops_per_device"], checks) == (40.0, None, [])
