"""A process whose loop is stuck ends, and says where; one whose loop turns goes on."""

import subprocess
import sys

STALL_S = 1.5
PROGRAM = """
import asyncio, re, sys, time
from runtime.watchdog import watched

def stuck():
    re.match("(a+)+$", "a" * 64 + "b")  # for ever, with the interpreter's lock

async def main():
    async with watched({stall_s}) as last_call:
        for _ in range(8):
            await asyncio.sleep({stall_s} / 5)
        {then}
    time.sleep(2 * {stall_s})

asyncio.run(main())
print("done")
"""


def run(then: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(stall_s=STALL_S, then=then)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_loop_that_turns_is_left_alone_and_so_is_what_comes_after_it() -> None:
    ended = run("pass")
    assert (ended.returncode, ended.stdout) == (0, "done\n"), ended.stderr


def test_a_stuck_loop_ends_its_process_which_says_where_it_was() -> None:
    ended = run("stuck()")
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert "Timeout" in ended.stderr
    assert "in stuck" in ended.stderr


def test_a_process_that_was_to_end_and_does_not_is_ended() -> None:
    ended = run("last_call(); await asyncio.sleep(30)")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "Timeout" in ended.stderr


def test_a_process_that_was_to_end_and_does_is_left_alone() -> None:
    ended = run("last_call()")
    assert (ended.returncode, ended.stdout) == (0, "done\n"), ended.stderr
