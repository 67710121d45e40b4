"""Ties a process to the one that started it: it is killed when that one dies.

Run as a program it ties itself and then becomes another program with the same process
id; so the store, which is not ours, is tied as well, without code between fork and exec.
Linux only (PR_SET_PDEATHSIG); elsewhere an orphan lives on and the next start joins it.
Imports nothing that is slow: this is on the path of every start.
"""

import os
import signal
import sys

SUPERVISOR_PID = "CONTEXTD_SUPERVISOR_PID"
_PR_SET_PDEATHSIG = 1


def tie_to(parent_id: int) -> None:
    """Have the kernel kill this process as soon as process `parent_id` is gone.

    Exits at once if it is gone already: the kernel tells only of deaths to come.
    """
    if sys.platform != "linux":
        return
    import ctypes  # here: 6 ms that other platforms need not pay

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    if os.getppid() != parent_id:
        raise SystemExit(1)


def tie_to_supervisor() -> None:
    """Die with the supervisor, if one has started this process."""
    supervisor_id = os.environ.get(SUPERVISOR_PID)
    if supervisor_id is not None:
        tie_to(int(supervisor_id))


def main(arguments: list[str]) -> None:
    """`tether.py PARENT_ID PROGRAM [ARGUMENT ...]`: tie, then become PROGRAM."""
    tie_to(int(arguments[0]))
    os.execv(arguments[1], arguments[1:])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
