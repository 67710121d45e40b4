"""Log lines, as a process of ours would write them."""

import json
import subprocess
import sys
from typing import Any

BEGIN = """
import logging, structlog
from runtime.logs import configure_logs
configure_logs("info")
log = structlog.get_logger("x")
plain = logging.getLogger("y")
"""


def lines_of(program: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + program], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_both_ways_of_logging_write_json_lines() -> None:
    one, two = lines_of(
        'log.info("context opened", context_id="c", version=3)\n'
        'plain.warning("process ended", extra={"slot": 1})\n'
        'log.debug("not shown"); plain.debug("not shown")\n'
    )
    assert {**one, "at": ""} == {
        "event": "context opened",
        "level": "info",
        "context_id": "c",
        "version": 3,
        "at": "",
    }
    assert (two["event"], two["level"], two["slot"]) == ("process ended", "warning", 1)


def test_messages_and_secrets_are_withheld_and_numbers_stay() -> None:
    (line,) = lines_of(
        'log.info("x", content="psst", api_key="k", access_token="t", token=7,\n'
        '         completion_tokens=3, message_id="m", url="redis://:pw@host/0")\n'
    )
    withheld = {name for name, value in line.items() if value == "(withheld)"}
    assert withheld == {"content", "api_key", "access_token"}
    assert (line["token"], line["completion_tokens"], line["message_id"]) == (7, 3, "m")
    assert line["url"] == "redis://***@host/0"


def test_an_error_about_a_value_is_logged_without_the_value() -> None:
    (line,) = lines_of(
        "import pydantic\n"
        "try:\n"
        '    pydantic.TypeAdapter(int).validate_python("my diary")\n'
        "except ValueError:\n"
        '    plain.exception("refused")\n'
    )
    assert "my diary" not in json.dumps(line)
    assert line["error"]["type"] == "ValidationError"
    assert line["error"]["frames"]


def test_causes_and_groups_are_told() -> None:
    (line,) = lines_of(
        "try:\n"
        "    try:\n"
        '        raise KeyError("inner")\n'
        "    except KeyError as error:\n"
        '        raise ExceptionGroup("outer", [OSError("one")]) from error\n'
        "except ExceptionGroup as error:\n"
        '    log.error("failed", exc_info=error)\n'
    )
    assert line["error"]["members"][0]["detail"] == "one"
    assert line["error"]["cause"]["type"] == "KeyError"


def test_configuring_again_does_not_double_the_lines() -> None:
    assert len(lines_of('configure_logs("info"); plain.info("once")\n')) == 1
