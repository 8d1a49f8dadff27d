"""Energy as schedulers account for it."""

import pytest

from hpcscale.jobs.energy import of_attempt, read_sacct, read_statistics
from hpcscale.record.energy import JobEnergy
from hpcscale.spec.problems import InputError

HEADER = "JobIDRaw|ConsumedEnergyRaw|ElapsedRaw|NNodes\n"


def only(text: str) -> JobEnergy | None:
    ((start,),) = read_sacct(HEADER + text, "f").values()
    return start


def test_the_allocations_own_figure_counts_and_its_steps_do_not_again():
    found = only("7|720000|100|4\n7.batch|180000|100|1\n7.extern|720000|100|4\n7.0|700000|95|4\n")
    assert found == JobEnergy(720000, 100, "sacct", 4)
    assert found is not None and found.watts == 7200


def test_without_it_the_extern_step_counts():
    assert only("7|0|100|4\n7.batch|180000|100|1\n7.extern|720000|100|4\n7.0|700000|95|4\n") == JobEnergy(
        720000, 100, "sacct", 4
    )


def test_without_both_the_numbered_steps_add_up():
    assert only("7||100|2\n7.batch|9|100|1\n7.0|1000|10|2\n7.1|2000|20|2\n") == JobEnergy(
        3000, 30, "sacct", 2, "sum of 2 job steps"
    )


@pytest.mark.parametrize("nothing", ["0", "", "18446744073709551614"])
def test_zero_empty_and_slurms_not_set_are_no_energy(nothing: str):
    assert only(f"7|{nothing}|100|4\n7.0|{nothing}|95|4\n") is None


def test_letters_and_clock_times_are_read_too():
    found = read_sacct("JobID|ConsumedEnergy|Elapsed|\n7|1.50M|1-00:00:10|\n", "f")
    assert found == {"7": [JobEnergy(1.5e6, 86410, "sacct")]}


def test_watts_that_no_node_takes_are_named():
    found = only("7|1|100|4\n")
    assert found is not None and found.note == "0.0025 W a node is not plausible: ask the site what its figure covers"


def test_each_start_of_a_requeued_job_has_its_own():
    starts = read_sacct(HEADER + "7|1000|10|1\n7.0|900|9|1\n7|2000|20|1\n", "f")["7"]
    assert [of_attempt(starts, restart, last=1) for restart in (0, 1, 2)] == [
        JobEnergy(1000, 10, "sacct", 1), JobEnergy(2000, 20, "sacct", 1), None,
    ]  # fmt: skip


def test_an_accounting_with_one_entry_a_job_means_its_newest_start():
    starts = read_sacct(HEADER + "7|1000|10|1\n", "f")["7"]
    assert of_attempt(starts, 0, last=1) is None
    assert of_attempt(starts, 1, last=1) == JobEnergy(1000, 10, "sacct", 1)


def test_a_file_without_header_is_refused_with_the_command_that_makes_one():
    with pytest.raises(
        InputError, match=r"f:1:1: the first line names no column JobIDRaw; make the file with: sacct --parsable2"
    ):
        read_sacct("7|1000|10|1\n", "f")


def statistics(nodes: int, watts: float, wh: float, kind: str = "IDEAL") -> str:
    items = {
        "JOB ID": "238", "ELAPSE TIME (USE)": "00:30:00 (1800)", "NODE NUM (REQUIRE)": nodes,
        f"AVG POWER CONSUMPTION OF NODE ({kind})": watts, f"ENERGY CONSUMPTION OF NODE ({kind})": wh,
    }  # fmt: skip
    return "Job Statistical Information\n\n" + "".join(f" {key:<35} : {value}\n" for key, value in items.items())


def test_the_statistics_files_energy_is_in_watt_hours():
    assert read_statistics(statistics(1, 142.9, 71.45), "f") == ("238", JobEnergy(71.45 * 3600, 1800, "pjm: IDEAL", 1))


def test_one_nodes_power_beside_all_nodes_energy():
    _, found = read_statistics(statistics(48, 142.9, 48 * 71.45), "f")
    assert found is not None and found.watts == pytest.approx(48 * 142.9) and not found.note


def test_power_and_energy_of_all_nodes():
    _, found = read_statistics(statistics(48, 48 * 142.9, 48 * 71.45), "f")
    assert found is not None and found.watts == pytest.approx(48 * 142.9)


def test_power_and_energy_of_one_node_are_multiplied_and_it_says_so():
    _, found = read_statistics(statistics(48, 142.9, 71.45), "f")
    assert found is not None and found.watts == pytest.approx(48 * 142.9)
    assert found.note == "the file's figures are one node's; times 48 nodes"


def test_measured_is_taken_before_ideal():
    text = statistics(1, 100.0, 50.0) + statistics(1, 120.0, 60.0, "MEASURED").split("\n\n")[1]
    assert read_statistics(text, "f")[1] == JobEnergy(60.0 * 3600, 1800, "pjm: MEASURED", 1)


def test_the_blocks_of_single_nodes_are_not_the_jobs():
    text = statistics(1, 100.0, 50.0) + "-" * 80 + "\n ENERGY CONSUMPTION OF NODE (MEASURED) : 9\n"
    assert read_statistics(text, "f")[1] == JobEnergy(50.0 * 3600, 1800, "pjm: IDEAL", 1)


def test_a_statistics_file_without_power_has_no_energy_and_another_file_is_refused():
    assert read_statistics(" JOB ID : 238\n ELAPSE TIME (USE) : 00:01:00 (60)\n", "f") == ("238", None)
    with pytest.raises(InputError, match="f: this is no job statistics file of PJM"):
        read_statistics("hello\n", "f")


def test_energy_of_a_job_that_used_no_second_is_none():
    found = read_sacct("JobIDRaw|ConsumedEnergyRaw|ElapsedRaw|NNodes\n1|500|0|1\n1.0|300|10|1\n", "f")
    assert [energy and energy.joules for energy in found["1"]] == [300]


def test_joules_with_a_letter_count_in_thousands_and_empty_lines_do_not():
    # Slurm's convert_num_unit2 divides ConsumedEnergy by 1000, not 1024 (src/sacct/print.c)
    found = read_sacct("  \nJobID|ConsumedEnergy|Elapsed|NNodes\n\n7|25.5K|00:01:40|2\n", "f")
    (energy,) = found["7"]
    assert energy is not None and (energy.joules, energy.seconds, energy.nodes) == (25500, 100, 2)
