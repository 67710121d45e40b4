"""API keys as an operator and a new user meet them: the first one, more of them, none."""

import http.client
import json
import stat
import sys

import pytest

from tests.support.service_processes import Service, run_command, run_words, until
from tests.support.store_server import StoreServer

pytestmark = pytest.mark.timeout(240)


def status(service: Service, key: str | None, path: str = "/api/contexts") -> int:
    """How a request with a key is answered."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_first_key_is_made_once_and_only_its_owner_can_read_it() -> None:
    with Service(auth="keys") as service:
        path = service.data / "owner.key"
        key = path.read_text().strip()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert status(service, None) == 401
        assert status(service, key) == 200
        assert status(service, key, "/admin/dead_letters") == 200
        service.kill_everything()
        service.start()
        assert path.read_text().strip() == key
        assert status(service, key) == 200
        # It is in no log: who reads those must not come in.
        assert key not in service.up.log.read_text()


def test_keys_are_made_listed_and_revoked() -> None:
    with Service(auth="keys", access_check_s=0) as service:
        made = run_command("keys", "create", "laptop", "--days", "2", service=service)
        key = made.stdout.strip()
        assert (made.returncode, status(service, key)) == (0, 200)
        assert status(service, key, "/admin/dead_letters") == 403
        listed = run_command("keys", "list", "--json", service=service)
        assert key not in listed.stdout
        (found,) = [one for one in json.loads(listed.stdout) if one["name"] == "laptop"]
        assert found["scopes"] == ["contexts:read", "contexts:write"]
        shown = run_command("keys", "list", service=service)
        assert found["id"] in shown.stdout
        revoked = run_command("keys", "revoke", found["id"], service=service)
        assert revoked.returncode == 0
        until(lambda: status(service, key) == 401, "the revoked key opens nothing")
        again = run_command("keys", "revoke", "nothing", service=service)
        assert again.returncode == 1
        assert "keys list" in again.stderr
        audited = run_command("audit", "--json", service=service)
        acts = [json.loads(line)["act"] for line in audited.stdout.splitlines()]
        assert [act["name"] for act in acts] == ["create_key"] * 2 + ["revoke_key"] * 2
        assert acts[1]["target"] == "local contexts:read,contexts:write laptop"
        assert acts[2]["target"] == found["id"]
        assert all(act["by"].startswith("command:") for act in acts)
        assert key not in audited.stdout
        checked = run_command("audit", "--check", service=service)
        assert (checked.returncode, "Records 1 to 4" in checked.stdout) == (0, True)
        rows = run_command("audit", service=service).stdout.splitlines()
        assert (len(rows), "revoke_key" in rows[2]) == (4, True)


def test_chat_and_restart_find_the_first_key() -> None:
    with Service(auth="keys") as service:
        said = run_command("chat", "--once", service=service, stdin="/chunks 1 1")
        assert (said.returncode, said.stdout) == (0, "chunk 1 \n")
        restarted = run_command("restart", "--scope", "workers", service=service)
        assert restarted.returncode == 0, restarted.stderr


def test_whoever_listens_beyond_this_machine_needs_a_key_first() -> None:
    with Service(auth="keys") as service, StoreServer() as store:
        environment = {**service.environment, "CONTEXTD_REDIS_URL": store.url}
        words = [sys.executable, "-P", "-m", "runtime.cli"]
        for role in (["gateway"], ["supervise"]):
            refused = run_words(
                [*words, *role, "--host", "0.0.0.0", "--port", "0"],
                environment,
                folder=service.folder,
            )
            assert refused.returncode == 1
            assert "keys create" in refused.stdout + refused.stderr
        off = run_words(
            [*words, "gateway", "--host", "0.0.0.0"],
            {**environment, "CONTEXTD_AUTH": "off"},
            folder=service.folder,
        )
        assert off.returncode == 2
        assert "loopback" in off.stderr
