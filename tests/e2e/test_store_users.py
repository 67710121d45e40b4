"""`contextd supervise` and the commands as the user `contextd` of docs/redis-users.conf."""

import json

import pytest

from tests.support.acl_store import acl_store
from tests.support.service_processes import Service, kill, run_command

pytestmark = pytest.mark.timeout(240)


def test_everything_on_one_machine_runs_as_a_user_that_cannot_do_more(
    request: pytest.FixtureRequest,
) -> None:
    if not request.config.getoption("--long"):
        pytest.skip("its roles are tried one by one: tests/gateway/test_acl.py")
    with (
        acl_store() as store,
        Service(
            auth="keys",
            redis_url=store.url("contextd"),
            worker_session_ms=1_000,
            worker_heartbeat_s=0.25,
        ) as service,
    ):
        made = run_command(
            *("keys", "create", "me", "--file", str(service.folder / "me.key")),
            *("--scope", "contexts:read", "--scope", "contexts:write", "--scope", "admin"),
            service=service,
        )
        assert made.returncode == 0, made.stderr
        key = ("--key-file", str(service.folder / "me.key"))
        said = run_command("chat", "--once", *key, service=service, stdin="/chunks 1 1")
        assert (said.returncode, said.stdout) == (0, "chunk 1 \n"), said.stderr
        restarted = run_command("restart", *key, service=service)
        assert restarted.returncode == 0, restarted.stderr
        for process_id in service.processes("worker"):
            kill(process_id)
        again = run_command("chat", "--once", *key, service=service, stdin="/chunks 1 1")
        assert again.returncode == 0, again.stderr
        for words in (
            ("keys", "list"),
            ("retention", "--dry-run", "--days", "1"),
            ("audit", "--check"),
        ):
            ran = run_command(*words, service=service)
            assert ran.returncode == 0, (words, ran.stderr)
        told = run_command("doctor", "--json", service=service)
        rows = {row["name"]: row for row in json.loads(told.stdout)}
        assert rows["durability"]["level"] == "ok"
        assert rows["store access"]["level"] == "ok"
        service.wait_ready()
        assert store.refused() == []
