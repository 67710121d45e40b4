"""Takes errors out of nested groups: rooms run in task groups, which wrap what they raise."""

import sys
from collections.abc import Iterator
from typing import cast


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors themselves, in the order of their groups."""
    if isinstance(error, BaseExceptionGroup):
        for member in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from leaves(member)
    else:
        yield error


def say_unusable(failed: BaseException) -> None:
    """Tell the user of a command why the store cannot be used: by the first error."""
    reason = str(next(leaves(failed))).removesuffix(".")
    sys.stderr.write(f"contextd: the store cannot be used: {reason}.\n")
