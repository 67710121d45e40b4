"""The audit log as it is shown to people."""

from runtime.audit import line_of
from storage import Act, AuditRecord


def line(target: str) -> str:
    act = Act(by="key:k", owner="grüße", address="::1", name="delete_session", target=target)
    return line_of(AuditRecord(number=7, at_ms=0, act=act, outcome="asked", before=""))


def test_a_record_is_one_line_whatever_a_client_has_asked_for() -> None:
    head = "      7  asked        1970-01-01T00:00:00Z  key:k  grüße  ::1  delete_session  "
    assert line("tea time") == f"{head}tea time"
    assert line("a\n      8  done") == f"{head}'a\\n      8  done'"
    assert line("\x1b[2J\u202e") == f"{head}'\\x1b[2J\\u202e'"
