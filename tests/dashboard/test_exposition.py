"""Prometheus' text and the statistics are one look at the same numbers."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from dashboard.exposition import exposition
from storage import Memory, Process, Statistics
from tests.support.service import Client, Json, Service, eventually, serving

DOCS: Final = Path(__file__).parent.parent.parent / "docs"
Labels = frozenset[tuple[str, str]]


async def scraped(client: Client) -> Mapping[tuple[str, Labels], float]:
    """Every sample, by its name and labels."""
    answer = await client.get("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


async def busy(service: Service) -> None:
    """Something of everything, and all of it reported."""
    client = service.client
    context_id = await client.create()
    await client.say(context_id, "Hello")
    await client.say(context_id, "Again")
    await client.act(context_id, "retry")
    await client.get(f"/api/contexts/{context_id}/state")
    await client.act(context_id, "delete")
    for store in service.stores:
        await store.meters.report()


async def test_both_tell_the_same(store_url: str) -> None:
    async with serving(
        store_url, dashboard={"stats_fresh_s": 0}, storage={"report_s": 0.05}
    ) as service:
        await busy(service)

        async def all_have_reported() -> bool:
            shown = (await service.client.get("/api/v1/stats")).json
            latency = shown["latency"]
            return (
                len(shown["processes"]) == 2
                and latency["first_token"]["count"] == 2
                and latency["send"]["count"] == 4
            )

        await eventually(all_have_reported)
        samples = await scraped(service.client)
        stats: Json = (await service.client.get("/api/v1/stats")).json

    def value(name: str, **labels: str) -> float:
        return samples[f"contextd_{name}", frozenset(labels.items())]

    assert value("actions_delivered_total") == stats["actions"]["delivered"] == 4
    for outcome in ("applied", "refused"):
        assert value("actions_ended_total", outcome=outcome) == stats["actions"][outcome] > 0
    assert (
        value("turns_ended_total", outcome="completed") == stats["turns"]["ended"]["completed"]
    )
    assert value("turns_started_total") == stats["turns"]["started"] == 2
    assert value("contexts_created_total") == value("contexts_deleted_total") == 1
    assert value("contexts", phase="idle") == 0
    assert stats["contexts"]["by_phase"] == {}
    ended = {dict(labels)["outcome"] for name, labels in samples if "s_ended_total" in name}
    assert ended == {"applied", "refused", "completed"}
    assert value("mailbox_waiting") == stats["mailbox"]["waiting"] == 0
    assert value("errors_total", type="illegal-in-phase") == 1
    assert value("send_seconds_count") == stats["latency"]["send"]["count"] > 0
    assert value("send_seconds_bucket", le="+Inf") == value("send_seconds_count")
    roles = {dict(labels).get("role") for name, labels in samples if name.endswith("_up")}
    assert roles == {process["role"] for process in stats["processes"]} == {"gateway", "worker"}


def test_times_are_seconds_and_none_is_negative() -> None:
    process = Process(
        id="g1",
        role="gateway",
        host="here",
        process_id=1,
        started_at_ms=0,
        at_ms=0,
        memory_bytes=1,
        cpu=0.1,
        lag_ms=1_500.0,
        draining=False,
        load={},
    )
    found = Statistics(
        at_ms=5_000,
        totals={},
        by_phase={},
        mail_waiting=1,
        processes=[process],
        contexts=1,
        dead_letters=0,
        oldest_mail_ms=3_000,
        latencies={},
        window_s=1.0,
        actions_s=0.0,
        turns_s=0.0,
        announced=0,
        since_ever={},
    )
    text = exposition(found, Memory(1, None)).decode()
    assert 'contextd_process_loop_lag_seconds{process="g1",role="gateway"} 1.5\n' in text
    assert "contextd_mailbox_oldest_seconds 2.0\n" in text
    ahead = replace(found, oldest_mail_ms=5_001)
    text = exposition(ahead, Memory(1, None)).decode()
    assert "contextd_mailbox_oldest_seconds 0.0\n" in text, "a gateway's clock is ahead"


async def test_the_dashboard_for_grafana_asks_for_nothing_that_there_is_not(
    store_url: str,
) -> None:
    async with serving(store_url) as service:
        await busy(service)
        there = {name for name, _ in await scraped(service.client)}
    panels: Json = orjson.loads((DOCS / "grafana.json").read_bytes())["panels"]
    asked = {
        name
        for panel in panels
        for target in panel["targets"]
        for name in re.findall(r"contextd_\w+", target["expr"])
    }
    assert asked <= there
    assert len(asked) > 20


@pytest.mark.parametrize("path", ["/metrics", "/api/v1/stats"])
async def test_both_say_when_the_store_does_not_answer(store_url: str, path: str) -> None:
    async with serving(store_url, workers=0) as service:
        link = service.stores[0].link
        room, link.calls_max = link.calls_max, 0
        assert (await service.client.get(path)).problem == "store-unavailable"
        link.calls_max = room
        assert (await service.client.get(path)).status == 200
