"""The faults of the table in reference/durable.md, section 7, and the tests that let them happen.

| row | fault | in the folder `tests/` |
|---|---|---|
| 1 | Redis is down at the start | `faults/test_redis_outages.py::test_a_server_that_is_down_at_the_start_is_said_to_be` |
| 2 | it is away for less than a lease | `faults/test_runs_and_redis.py::test_a_redis_that_is_frozen_for_less_than_a_lease_disturbs_nobody` |
| 3 | and for longer | `faults/test_runs_and_redis.py::test_a_redis_that_is_away_for_longer_costs_the_step_that_worked` |
| 3 | which is no death of a worker | `faults/test_runs_and_redis.py::test_an_outage_of_redis_is_no_death_of_a_worker` |
| 4 | it lost everything | `faults/test_runs_and_redis.py::test_a_redis_that_lost_everything_gets_the_runs_back_from_the_archive` |
| 5 | failover to a replica | `faults/test_runs_and_redis.py::test_a_replica_takes_over_and_refuses_until_it_is_the_master` |
| 6 | the archive is away | `faults/test_runs_and_redis.py::test_runs_go_on_while_the_archive_is_away_and_get_there_later` |
| 7 | the archive is slow | `faults/test_archive_outages.py::test_a_slow_archive_does_not_slow_writers` |
| 8 | killed between both tiers | `faults/test_killed_writers.py::test_writers_are_killed_again_and_again` |
| 9 | a worker is killed | `faults/test_runs_and_workers.py::test_a_run_whose_worker_is_killed_goes_on_after_a_lease` |
| 10 | it wakes up too late | `faults/test_chaos_runs.py::test_a_process_that_wakes_up_does_not_go_on_with_a_run_that_another_has_ended` |
| 10 | and begins nothing without a lease | `execution/test_lost_leases.py::test_no_further_attempt_is_made` |
| 11 | a run is submitted 100 times | `faults/test_runs_under_load.py::test_a_run_that_is_submitted_a_hundred_times_has_one_owner` |
| 11 | and through a queue | `runs/test_engines.py::test_a_run_that_is_submitted_a_hundred_times_has_one_owner` |
| 12 | clocks are wrong | `faults/test_runs_and_workers.py::test_a_run_whose_worker_is_killed_goes_on_after_a_lease` |
| 13 | a plan kills workers | `faults/test_runs_and_workers.py::test_a_run_that_kills_three_workers_is_parked_and_others_go_on` |
| 13 | a message is garbage | `runs/test_engines.py::test_garbage_in_the_queue_stops_nobody` |
| 14 | values are huge or deep | `faults/test_runs_under_load.py::test_huge_and_deep_values_are_refused_before_they_reach_a_store` |
| 15 | an action blocks the loop | `faults/test_runs_and_workers.py::test_an_action_that_blocks_the_event_loop_keeps_its_lease` |
| 16 | a callback hangs or fails | `faults/test_runs_under_load.py::test_a_callback_that_hangs_or_fails_holds_up_no_other_and_is_given_up` |
| 16 | its server never answers | `faults/test_runs_under_load.py::test_a_server_that_never_answers_a_callback_is_given_up` |
| 17 | cancelled at any moment | `faults/test_runs_under_load.py::test_a_run_that_is_cancelled_at_any_moment_ends_once` |
| 18 | Redis refuses writes | `faults/test_runs_and_redis.py::test_a_redis_that_refuses_writes_is_away_and_the_run_has_not_failed` |
| 18 | its disk is full | `faults/test_redis_outages.py::test_a_full_disk_refuses_writes_and_loses_none` |
| 19 | a worker is out of memory | as 13: to others it is a process that is gone |
| 20 | a run leaves Redis meanwhile | `faults/test_runs_and_redis.py::test_a_run_that_leaves_redis_while_it_works_comes_back` |
| 21 | another tenant asks | `execution/test_run_log.py::test_a_run_is_seen_by_its_owner_only` |
| 22 | a store holds what is malicious | `faults/test_runs_under_load.py::test_a_checkpoint_that_would_call_something_ends_the_run_and_calls_nothing` |
| 23 | a plan is forbidden | `faults/test_runs_under_load.py::test_a_forbidden_action_is_refused_where_it_would_be_executed` |
| 24 | a callback leads inside | belongs to the service |
| 25 | a newer version wrote the run | `runs/test_worker.py::test_a_worker_shows_figures_leaves_newer_runs_and_ends_with_its_parent` |
| 26 | a tenant is noisy | `faults/test_runs_under_load.py::test_a_noisy_tenant_fills_neither_the_process_nor_the_place_of_others` |
| 27 | more runs than connections | `faults/test_runs_under_load.py::test_two_hundred_runs_at_once_share_one_client` |

All at once, at random: `faults/test_chaos_runs.py::test_runs_end_as_if_nothing_had_failed`, and for longer `make chaos`.
Without lease and fence that finds faults: `faults/test_chaos_runs.py::test_without_lease_and_fence_it_goes_on_and_that_is_noticed`.
"""  # noqa: E501 - rows of a table

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_each_row_names_tests_that_are_there() -> None:
    rows = [int(number) for number in re.findall(r"^\| (\d+) \|", __doc__ or "", re.MULTILINE)]
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", __doc__ or "")

    assert sorted(set(rows)) == list(range(1, 28))
    assert [name for file, name in named if f"def {name}(" not in (TESTS / file).read_text(encoding="utf-8")] == []
