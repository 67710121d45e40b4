"""What several gateways have counted, as one."""

from collections import Counter

from dashboard.activity_tally import EndpointTally, Tally

SAID, POLLED, ASKED = "POST /actions", "GET /state", "POST /api/chat/{mode}"


def test_counts_of_gateways_are_added_and_told_since_the_first_of_them_has_started() -> None:
    ours = Tally(
        since_ms=2_000,
        endpoints={
            SAID: EndpointTally(
                SAID, "action", requests=2, timed=2, latency_ms=6.0, latency_ms_max=5.0
            ),
            POLLED: EndpointTally(POLLED, "poll"),
        },
        error_types=Counter({"not-found": 1}),
        cache_hits=1,
    )
    theirs = Tally(
        since_ms=1_000,
        endpoints={
            SAID: EndpointTally(
                SAID,
                "action",
                requests=3,
                failed=1,
                timed=1,
                latency_ms=9.0,
                latency_ms_max=9.0,
            ),
            ASKED: EndpointTally(ASKED, "query", requests=1, timed=1, latency_ms=7_000.0),
        },
        error_types=Counter({"not-found": 2, "busy": 1}),
        abandoned=4,
        cache_misses=5,
        kept=6,
        over_rate=7,
        lost=Counter(store=8),
    )
    ours.add(theirs)
    shown = ours.view(now_ms=3_500, complete=True)
    assert shown.session_start == "1970-01-01T00:00:01.000Z"
    assert (shown.uptime_seconds, shown.gateways) == (2.5, 2)
    assert (shown.total_requests, shown.failed_requests, shown.success_rate) == (6, 1, 0.833333)
    assert shown.avg_latency_ms == 5.0, "a question takes as long as its model"
    assert shown.by_type == {"action": 4, "query": 1, "error": 1}
    assert [each.endpoint for each in shown.top_endpoints] == [SAID, ASKED]
    (said, _) = shown.top_endpoints
    assert (said.requests, said.avg_latency_ms, said.max_latency_ms) == (5, 5.0, 9.0)
    assert shown.error_types == {"not-found": 3, "busy": 1}
    assert (shown.abandoned_requests, shown.cache_hits, shown.cache_misses) == (4, 1, 5)
    assert (shown.records.kept, shown.records.over_rate) == (6, 7)
    assert shown.records.lost == {"store": 8}


def test_where_nothing_was_asked_there_is_no_rate() -> None:
    shown = Tally(since_ms=2_000).view(now_ms=1_000, complete=True)
    assert (shown.uptime_seconds, shown.success_rate, shown.avg_latency_ms) == (0, None, None)
