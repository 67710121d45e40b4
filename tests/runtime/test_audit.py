"""The audit log as it is shown to people."""

import pytest

from runtime.audit import line_of, record, show_records
from runtime.settings import Settings
from storage import Act, AuditRecord, connect, keys
from tests.support.store_server import StoreServer


def line(target: str) -> str:
    act = Act(by="key:k", owner="grüße", address="::1", name="delete_session", target=target)
    return line_of(AuditRecord(number=7, at_ms=0, act=act, outcome="asked", before=""))


def test_a_record_is_one_line_whatever_a_client_has_asked_for() -> None:
    head = "      7  asked        1970-01-01T00:00:00Z  key:k  grüße  ::1  delete_session  "
    assert line("tea time") == f"{head}tea time"
    assert line("a\n      8  done") == f"{head}'a\\n      8  done'"
    assert line("\x1b[2J\u202e") == f"{head}'\\x1b[2J\\u202e'"


@pytest.mark.real_only
async def test_a_record_that_cannot_be_read_is_named_beside_the_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = Settings()
    with StoreServer() as server:
        async with connect(server.url, settings) as store:
            await record(store, "backup", "monday.tar")
            await store.link.call("XADD", keys.AUDIT, "2-0", "r", "{}")
            await record(store, "backup", "tuesday.tar")
        assert await show_records(settings, server.url, after=0, limit=9, as_json=False) == 0
    shown, said = capsys.readouterr()
    assert [line.split()[0] for line in shown.splitlines()] == ["1", "3"]
    assert said == "contextd: record 2 cannot be read: somebody has changed it.\n"
