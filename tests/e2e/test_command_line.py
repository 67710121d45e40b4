"""The other commands, and rq's own, against a running service."""

import sys
from pathlib import Path

import pytest

from tests.support.http_client import HttpClient
from tests.support.service_processes import Service, run_command, run_words

pytestmark = pytest.mark.timeout(240)


def test_chat_once_prints_the_reply_and_nothing_else(shared_service: Service) -> None:
    ran = run_command("chat", "--once", service=shared_service, stdin="/chunks 3 1")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "chunk 1 chunk 2 chunk 3 \n", "")


async def test_chat_once_goes_on_with_a_context_and_tells_that_a_tool_waits(
    shared_service: Service,
) -> None:
    async with HttpClient(shared_service.url) as client:
        context_id = await client.create()
        ran = run_command(
            *("chat", "--once", "--context", context_id),
            service=shared_service,
            stdin="/tool clock {}",
        )
        assert ran.returncode == 3
        assert "clock" in ran.stderr
        context = await client.state(context_id)
        assert context["status"] == "awaiting_tool_approval"


def test_doctor_finds_nothing_to_do(shared_service: Service) -> None:
    ran = run_command("doctor", service=shared_service)
    assert ran.returncode == 0, ran.stdout + ran.stderr


async def test_rq_info_shows_queue_workers_and_the_job_of_an_active_context(
    shared_service: Service,
) -> None:
    async with HttpClient(shared_service.url) as client:
        context_id = await client.create()
        await client.send(context_id, "/chunks 2 600000")
        rq = Path(sys.executable).with_name("rq")
        words = [str(rq), "info", "--url", f"unix://{shared_service.socket}", "--raw"]
        ran = run_words(words, shared_service.environment, folder=shared_service.folder)
        cancelled = await client.act(context_id, "cancel", prefer="wait=20")
        assert cancelled.context["status"] == "idle"
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    queues = [line for line in lines if line.startswith("queue ")]
    workers = [line for line in lines if line.startswith("worker ")]
    assert [line.split()[1] for line in queues] == ["contextd"], ran.stdout
    assert len(workers) == 2, ran.stdout
    assert any("busy" in line for line in workers), ran.stdout
