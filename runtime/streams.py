"""Standard input, output and error, as whoever has started us gives them.

They may be closed, full, of an old encoding, or a pipe whose reader has left. None of that
shows a trace to the person, and none of it ends what is kept running.
"""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Generator
from typing import Final

_STREAMS: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
_NOT_TAKEN: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EPIPE})


def open_standard_streams() -> None:
    """Have 0, 1 and 2 open, and put a sign in the place of what they have no character for.

    Closed, a loop with its own descriptors among them would abort its children.
    """
    for descriptor, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free: this one
            setattr(sys, name, os.fdopen(descriptor, mode))
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


@contextlib.contextmanager
def output_that_may_fail() -> Generator[None, None, None]:
    """For the length of a command: where its output is not taken, end with 1 and a sentence.

    Without the sentence where the reader has left: that is how `| head` says enough.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.filename is not None or error.errno not in _NOT_TAKEN:
            raise
        # What could not be written would be tried again at the very end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if error.errno != errno.EPIPE:
            with contextlib.suppress(OSError):
                sys.stderr.write(f"contextd: The output was not taken: {error.strerror}.\n")
        raise SystemExit(1) from None


def write_if_taken(text: str) -> None:
    """Write to standard output, or nowhere; nothing is left to be written later."""
    with contextlib.suppress(OSError):
        os.write(1, text.encode(sys.stdout.encoding, "replace"))
