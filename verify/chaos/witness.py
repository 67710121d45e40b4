"""A tool declared `once` that leaves a trace of every run, and reads the traces back.

A worker finds it as it finds any installed tool: `install` writes the metadata of a package
that names it. What it has written is evidence from outside of the service.
"""

import os
from collections import Counter
from pathlib import Path
from typing import Final

import orjson

from workers.tools import tool

TRACES: Final = "VERIFY_TRACES"
"""Variable with the path of the file that runs are written to."""
NAME: Final = "stamp"
DONE: Final = "Stamped."


@tool(effect="once", timeout_s=10, name=NAME)
async def stamp(text: str) -> str:
    """Write a line into a file: every run leaves a trace."""
    descriptor = os.open(os.environ[TRACES], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{text}\n".encode())
    finally:
        os.close(descriptor)
    return DONE


def asking_for(text: str) -> str:
    """A message that makes the scripted model ask for the tool."""
    return f'{text}\n/tool {NAME} {{"text": "{text}"}}'


def text_of(arguments: str) -> str:
    """What a call writes, of its arguments (JSON)."""
    text: str = orjson.loads(arguments)["text"]
    return text


def install(folder: Path) -> None:
    """Make a folder that, on the path of a worker, is an installed package with this tool."""
    metadata = folder / "contextd_witness-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: contextd-witness\nVersion: 1\n"
    )
    entry = f"[contextd.tools]\n{NAME} = verify.chaos.witness:stamp\n"
    (metadata / "entry_points.txt").write_text(entry)


def runs(traces: Path) -> Counter[str]:
    """How often the tool has run for each text."""
    return Counter(traces.read_text().split() if traces.exists() else ())
