"""The examples of docs/client.md do what the page says."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

import contextd_client
from contextd_client import ClientLimits, ContextdError, problems
from gateway.kinds import KINDS
from tests.support.service import serving

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs/client.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, flags=re.DOTALL)
ADDRESS = "http://127.0.0.1:8000"
ENDS_S_MAX = 30.0


def test_every_example_says_what_it_prints() -> None:
    assert len(EXAMPLES) == PAGE.count("```python") > 0
    assert all(program.count(ADDRESS) == 1 for program, _ in EXAMPLES)


@pytest.mark.parametrize(("program", "printed"), EXAMPLES)
async def test_an_example_prints_what_the_page_says(
    store_url: str, program: str, printed: str
) -> None:
    async with serving(store_url) as service:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program.replace(ADDRESS, service.client.url)),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(ENDS_S_MAX):
            output, errors = await process.communicate()
    assert errors.decode() == ""
    assert output.decode() == printed


def test_the_page_names_every_action_limit_and_exception() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE))
    assert {*KINDS, *ClientLimits.__dataclass_fields__, *errors()} <= named


def test_the_tree_of_exceptions_names_every_one() -> None:
    tree = set(re.findall(r"── (\w+)", problems.__doc__ or ""))
    assert errors() - tree == {"ContextdError"}


def errors() -> set[str]:
    """Names of all exceptions that others may catch."""
    return {name for name in contextd_client.__all__ if is_error(vars(contextd_client)[name])}


def is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, ContextdError)
