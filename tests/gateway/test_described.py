"""What is made from the description of the API, by the thousand, gets what it promises.

`--long` makes fifty times as many; this is the short form.
"""

import asyncio
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from storage import SCOPES, Access
from tests.support.playbook import BEGAN_MS
from tests.support.service import serving

EXAMPLES, EXAMPLES_LONG = 10, 500
"""Of each operation, in each phase."""
SECONDS, SECONDS_LONG = 15, 1_500
CASES_MIN, CASES_MIN_LONG = 50, 1_000
"""So that none were not made: a quick machine makes fifty times as many in its time."""
CONFIG = Path(__file__).parent / "data" / "schemathesis.toml"
OPTIONS = {
    "auth": "keys",
    "wait_s_max": 1,
    "applied_s_max": 0.5,
    "gateway_drain_s": 0.2,
    "linger_feed_s": 0.2,
}


@pytest.mark.timeout(1_800)
async def test_what_is_made_from_the_description_gets_what_it_promises(
    store_url: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("storage.restarts.SUPERVISOR_LOOKS", 1)  # there is none
    long = request.config.getoption("--long")
    async with serving(store_url, gateway=OPTIONS) as service:
        url = f"{service.client.url}/openapi.json"
        _, key = await Access(service.stores[0].link).create(
            "all", owner="ada", scopes=SCOPES, now_ms=BEGAN_MS
        )
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG)),
            *("run", url, "--no-color", "--header", f"Authorization: Bearer {key}"),
            *("--checks", "all", "--generation-deterministic", "--continue-on-failure"),
            *("--max-examples", str(EXAMPLES_LONG if long else EXAMPLES)),
            *("--max-time", str(SECONDS_LONG if long else SECONDS)),
            *("--phases", "examples,coverage,fuzzing,stateful", "--workers", "1"),
            # These answer for as long as somebody listens.
            *("--exclude-path-regex", "/(events|ws)$", "--warnings", "off"),
            *("--request-timeout", "10"),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        told = output.decode()
        assert process.returncode == 0, told[-8_000:]
        made = re.search(r"(\d+) generated", told)
        assert made is not None
        assert int(made[1]) >= (CASES_MIN_LONG if long else CASES_MIN)
        client = replace(service.client, key=key)
        answer = await client.say(await client.create(), "still there?")
        assert answer.status == 200
