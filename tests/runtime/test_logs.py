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


FORGED = (
    *("\n", "\r\n", "\x0b", "\x0c", "\x1c", "\x1e", "\x85", "\u2028", "\u2029", "\0"),
    *("\x1b[2J", "\x1b]52;c;cm0=\x07", "\x9b31m", "\x7f", "\u202e", "\u2066", "\ufeff"),
    *("\ud800", "\udcff", '"}\n{"event":"owned"}', "\\n", "ünï", "🥊"),
)


def test_nothing_in_a_line_ends_it_or_steers_a_terminal() -> None:
    lines = lines_of(
        f"for text in {FORGED!r}:\n"
        "    text = f'a{text}b'\n"
        "    try:\n"
        "        raise LookupError(text)\n"
        "    except LookupError:\n"
        "        log.exception('x', path=text, tools=[text, {text: text}], error_=repr(text))\n"
        "        plain.warning('%s', text, extra={'path': text})\n"
    )
    assert len(lines) == 2 * len(FORGED)
    for number, text in enumerate(FORGED):
        one, two = lines[2 * number : 2 * number + 2]
        whole = f"a{text}b"
        assert (one["path"], one["tools"]) == (whole, [whole, {whole: whole}])
        assert one["error"]["detail"] == whole
        assert (two["event"], two["path"]) == (whole, whole)


def test_a_line_is_printable_ascii() -> None:
    program = f"for text in {FORGED!r}: log.info('x', path=text); plain.error(text)"
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + program], capture_output=True, check=True
    )
    assert set(done.stderr) <= {*range(0x20, 0x7F), 0x0A}


def test_passwords_in_addresses_are_withheld_however_they_are_written() -> None:
    (line,) = lines_of(
        "log.info('x', a='redis://me:p@ss@host/0', b='redis://h/0?db=1&password=pw&x=1',\n"
        "         c='cannot reach redis://:pw@h:1/0, nor rediss://u:pw@i')\n"
    )
    assert line["a"] == "redis://***@host/0"
    assert line["b"] == "redis://h/0?db=1&password=***&x=1"
    assert line["c"] == "cannot reach redis://***@h:1/0, nor rediss://***@i"
