"""The README's tour, typed in by a shell; and its heart again, over two gateways."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.http_client import HttpClient, StreamFrame, parse_block
from tests.support.invariants import stream_faults, streamed_texts, text_faults
from tests.support.service_processes import ROOT, Service, run_words

pytestmark = pytest.mark.timeout(240)

README = ROOT / "README.md"
MARK = "<!-- tour -->"
CHUNKS = 40

needs_curl = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("bash")), reason="needs curl and bash"
)


def tour_blocks(markdown: str) -> list[str]:
    """The shell blocks that stand right under a mark."""
    return re.findall(rf"(?ms){re.escape(MARK)}\s*```sh\n(.*?)^```", markdown)


def test_only_marked_shell_blocks_belong_to_the_tour() -> None:
    text = f"```sh\nno\n```\n{MARK}\n```sh\none\ntwo\n```\n\n{MARK}\n\n```sh\nthree\n```\n"
    assert tour_blocks(text) == ["one\ntwo\n", "three\n"]


@needs_curl
def test_the_tour_of_the_readme_shows_what_it_says(tmp_path: Path) -> None:
    blocks = tour_blocks(README.read_text()) if README.exists() else []
    if not blocks:
        pytest.skip("README.md has no block marked as tour yet")
    script = "set -euo pipefail\n" + "\n".join(blocks)
    with Service(auth="keys") as service:
        (tmp_path / "contextd-data").symlink_to(service.data)
        environment = {**os.environ, "CONTEXTD_URL": service.url}
        ran = run_words(["bash", "-c", script], environment, folder=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stderr == ""
    answer, replayed, deltas, status, told, product = ran.stdout.splitlines()
    assert answer.startswith('You said, in 2 words: "Hello, contextd".')
    assert replayed.strip().lower() == "idempotent-replayed: true"
    assert int(deltas) > 0
    assert status == "304"
    assert (told, product) == ("The tools answered:", "- 42")
    shown = [*frames_in(tmp_path / "cut.txt"), *frames_in(tmp_path / "rest.txt")]
    assert stream_faults(shown) == []
    texts = list(streamed_texts(shown).values())
    assert texts[-1] == "".join(f"chunk {number} " for number in range(1, CHUNKS + 1))


@needs_curl
async def test_p7_a_stream_cut_in_mid_reply_and_resumed_on_another_gateway_gives_every_byte(
    shared_service: Service, tmp_path: Path
) -> None:
    async with HttpClient(shared_service.url, shared_service.second_url) as client:
        context_id = await client.create(title="Tour")
        hello = await client.send(context_id, "Hello", prefer="wait=20")
        assert (hello.status, hello.context["status"]) == (200, "idle")
        async with client.watching(context_id) as whole:
            await whole.until(lambda seen: seen.of("snapshot"))
            await client.send(context_id, f"/chunks {CHUNKS} 100")
            first = curl_stream(shared_service.url, context_id, tmp_path / "first")
            await client.until_state(
                context_id, lambda _: len(deltas_in(tmp_path / "first")) >= 3
            )
            first.kill()  # in the middle of the reply
            first.wait()
            last = frames_in(tmp_path / "first")[-1].id
            second = curl_stream(
                shared_service.second_url, context_id, tmp_path / "second", last
            )
            final = await client.rested(context_id)
            await whole.until(lambda seen: seen.cursor == final["cursor"])
            await client.until_state(
                context_id,
                lambda _: (
                    frames_in(tmp_path / "second")[-1:]
                    and frames_in(tmp_path / "second")[-1].id == final["cursor"]
                ),
            )
            second.kill()
            second.wait()
    cut = frames_in(tmp_path / "first")
    assert cut[-1].event == "reply-delta"
    reply = final["messages"][-1]
    assert 0 < cut[-1].data["n"] < len(reply["content"])
    shown = [*cut, *frames_in(tmp_path / "second")]
    assert [frame.data["resumed"] for frame in shown if frame.event == "hello"] == [False, True]
    assert stream_faults(shown) == []
    assert text_faults(shown, final) == []
    uncut = streamed_texts(whole.frames)
    assert streamed_texts(shown)[reply["id"]].encode() == uncut[reply["id"]].encode()
    assert uncut[reply["id"]] == "".join(f"chunk {n} " for n in range(1, CHUNKS + 1))


def curl_stream(
    url: str, context_id: str, file: Path, cursor: str | None = None
) -> subprocess.Popen[bytes]:
    """curl, writing a context's stream into a file as it comes."""
    words = ["curl", "-sSN", f"{url}/api/contexts/{context_id}/events"]
    if cursor is not None:
        words += ["-H", f"Last-Event-ID: {cursor}"]
    with file.open("wb") as out:
        return subprocess.Popen(words, stdout=out, stdin=subprocess.DEVNULL)


def deltas_in(file: Path) -> list[StreamFrame]:
    return [frame for frame in frames_in(file) if frame.event == "reply-delta"]


def frames_in(file: Path) -> list[StreamFrame]:
    """The whole frames of a stream in a file; a frame that was cut is none."""
    blocks = file.read_bytes().split(b"\n\n")[:-1]
    found = [parse_block(block.decode(), at_s=0.0) for block in blocks]
    return [frame for frame in found if frame is not None]
