from runtime.backoff import Backoff


def test_the_first_death_waits_for_nothing_and_the_next_ones_ever_longer() -> None:
    backoff = Backoff(base_s=0.25, max_s=10, reset_s=30)
    waits = [backoff.delay_s(up_s=0) for _ in range(9)]
    assert waits == [0, 0.25, 0.5, 1, 2, 4, 8, 10, 10]


def test_a_process_that_was_up_long_enough_starts_afresh() -> None:
    backoff = Backoff(base_s=0.25, max_s=10, reset_s=30)
    for _ in range(5):
        backoff.delay_s(up_s=29)
    assert backoff.delay_s(up_s=30) == 0
    assert backoff.delay_s(up_s=0) == 0.25


def test_ten_thousand_deaths_still_wait_the_longest_wait() -> None:
    backoff = Backoff(base_s=0.25, max_s=10, reset_s=30)
    assert {backoff.delay_s(up_s=0) for _ in range(10_000)} == {0, 0.25, 0.5, 1, 2, 4, 8, 10}
