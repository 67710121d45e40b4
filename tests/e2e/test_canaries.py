"""Secrets stay where they are needed: none of them is told, logged or kept anywhere else.

Each secret is a canary. The service runs turns and fails in every way that has told secrets
elsewhere; then all that it has written, answered and shown is looked through.
"""

import asyncio
import contextlib
import http.client
import json
import secrets
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from tests.support.http_client import HttpClient, Json
from tests.support.service_processes import (
    Service,
    free_port,
    run_command,
    run_words,
    until,
)
from tests.support.store_server import StoreServer
from verify.chaos.processes import command_line

pytestmark = pytest.mark.timeout(480)

MCP_SERVER = Path(__file__).parent.parent / "workers" / "tools" / "mcp_plain_server.py"
SCOPES = ("--scope", "contexts:read", "--scope", "contexts:write", "--scope", "admin")
FAILURES = ("400", "401", "404", "413", "429", "500", "302", "html", "stream", "cut")


def canary(name: str) -> str:
    """A secret that is found wherever it flies to."""
    return f"canary-{name}-{secrets.token_hex(8)}"


@dataclass
class Canaries:
    """The secrets of one service."""

    model: str = field(default_factory=lambda: f"sk-{canary('model')}")
    store: str = field(default_factory=lambda: canary("store"))
    webhook: str = field(default_factory=lambda: canary("webhook"))
    tool: str = field(default_factory=lambda: canary("tool"))
    signing: str = "whsec_Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5"
    key: str = ""
    """Of an owner; the service makes it."""
    token: str = ""
    """Of a signed-in owner."""

    @property
    def all(self) -> dict[str, str]:
        # A part of each is enough to find it, and what is left of it when it was cut.
        secret = self.key.split("_", 2)[2][:20]
        signature = self.token.rpartition(".")[2][:20]
        return {
            **{name: getattr(self, name) for name in ("model", "store", "webhook", "tool")},
            "signing": self.signing[6:],
            "key": secret,
            "token": signature,
        }


class EchoingModel:
    """Fails as it is asked to, and says the key back in every way that it can."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body: Json = await request.json()
        said = str(body["messages"][-1]["content"])
        key = request.headers["Authorization"]
        error = {"message": f"Incorrect API key provided: {key} ({key[7:]})", "code": key}
        what = said.removeprefix("fail ") if said.startswith("fail ") else ""
        if what.isdigit():
            headers = {"Location": f"/v1/{key[7:]}", "Retry-After": "0", "X-Key": key[7:]}
            return web.json_response({"error": error}, status=int(what), headers=headers)
        if what == "html":
            return web.Response(text=f"<p>{key}</p>", content_type="text/html")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        delta: Json = {"role": "assistant", "content": "fine"}
        if said.startswith("tool "):
            call = {"name": said.removeprefix("tool "), "arguments": "{}"}
            delta["tool_calls"] = [{"index": 0, "id": secrets.token_hex(4), "function": call}]
        first = {"choices": [{"index": 0, "delta": delta}]}
        await response.write(b"data: " + json.dumps(first).encode() + b"\n\n")
        if what == "stream":
            await response.write(b"data: " + json.dumps({"error": error}).encode() + b"\n\n")
        elif what == "cut":
            await response.write(b"data: " + key.encode())
        else:
            await response.write(b"data: [DONE]\n\n")
        return response


@contextlib.asynccontextmanager
async def surroundings() -> AsyncGenerator[int, None]:
    """A model server and a webhook that takes nothing; their port."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", EchoingModel().answer)
    app.router.add_post("/hook", refuse)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port: int = runner.addresses[0][1]
        yield port
    finally:
        await runner.cleanup()


async def refuse(request: web.Request) -> web.Response:
    return web.Response(status=500, text=str(request.url) + str(request.headers))


def declared_servers(folder: Path) -> Path:
    """An MCP server that gets a secret, and reveals it."""
    file = folder / "mcp.json"
    server = {
        "command": sys.executable,
        "args": ["-I", "-S", str(MCP_SERVER)],
        "env": {"TRACE": str(folder / "trace"), "KEY": "Bearer ${CANARY_OF_A_TOOL}"},
    }
    file.write_text(json.dumps({"mcpServers": {"plain": server}}))
    return file


def signed_in(folder: Path) -> tuple[Path, str]:
    """The keys of an issuer, and a token of its."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    shown = {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "one"}
    file = folder / "jwks.json"
    file.write_text(json.dumps({"keys": [shown]}))
    said = {
        "iss": "https://issuer.example",
        "aud": "contextd",
        "sub": "ada",
        "exp": int(time.time()) + 600,  # noqa: TID251 - the service's clock is the real one
        "scope": "contexts:read contexts:write",
    }
    return file, jwt.encode(said, key, algorithm="RS256", headers={"kid": "one"})


async def use(client: HttpClient, credential: str) -> list[bytes]:
    """Have turns succeed, fail, and run tools that reveal; all that was answered."""
    heard: list[bytes] = []
    headers = {"Authorization": f"Bearer {credential}", "Prefer": "wait=20"}

    async def ask(method: str, path: str, body: Json = None) -> Json:
        reply = await client.request(method, path, body, headers=headers)
        heard.append(reply.raw + str(reply.headers).encode())
        return reply.body if reply.raw else None

    config = {
        "tool_policy": {"mode": "auto_loop"},
        "limits": {"rounds_max": 2, "attempts_max": 2, "backoff_ms_base": 1},
    }
    made = await ask("POST", "/api/contexts", {"config": config})
    context_id = made["context"]["id"]
    base = f"/api/contexts/{context_id}"
    said = [*(f"fail {failure}" for failure in FAILURES), "hello"]
    said += ["tool plain__reveal", "tool plain__shriek"]
    for text in said:
        await ask("POST", f"{base}/actions/send_message", {"content": text})
        await ask("POST", f"{base}/actions/reset", {})
    for path in ("state", "messages", "log", "turns", "export"):
        await ask("GET", f"{base}/{path}")
    for path in (
        "/readyz",
        "/openapi.json",
        "/admin/dead_letters",
        "/api/contexts?states=true",
    ):
        await ask("GET", path)
    ticket = (await ask("POST", "/api/tickets", {}))["ticket"]
    heard.pop()  # whoever asks for a ticket gets it
    await ask("GET", f"{base}/events?ticket={ticket}x")
    return heard


def garbled(port: int, credential: str) -> bytes:
    """Send what is no request, with the credential in it; what is answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.putrequest("GET", "/api/contexts")
        connection.putheader("Authorization", f"Bearer {credential}")
        connection.putheader("Content-Length", f"x{credential}")
        connection.endheaders()
        answer = connection.getresponse()
        return answer.read() + str(answer.headers).encode()
    finally:
        connection.close()


def written(*folders: Path) -> dict[str, bytes]:
    """Every file of these folders, but those that are there to hold a secret."""
    return {
        str(path): path.read_bytes()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
    }


def shown(service: Service) -> dict[str, bytes]:
    """What every process shows of itself to whoever looks into /proc."""
    found: dict[str, bytes] = {}
    for process_id in service.everything():
        folder = Path(f"/proc/{process_id}")
        with contextlib.suppress(OSError):
            for name in ("cmdline", "comm"):
                found[f"{name} of {process_id}"] = (folder / name).read_bytes()
    return found


def environments(service: Service) -> dict[str, bytes]:
    """What each process was started with, by what it is."""
    found: dict[str, bytes] = {}
    for process_id in service.everything():
        words = command_line(process_id)
        kind = next((k for k in ("mcp_plain", " up ", "gateway", "worker") if k in words), "")
        if kind:
            raw = Path(f"/proc/{process_id}/environ").read_bytes()
            found[kind.strip()] = found.get(kind.strip(), b"") + raw
    return found


def look_through(canaries: Canaries, found: Mapping[str, bytes]) -> None:
    told = [
        f"{name} in {where}: ...{raw[max(0, at - 200) : at + 80]!r}"
        for where, raw in found.items()
        for name, secret in canaries.all.items()
        if (at := raw.find(secret.encode())) >= 0
    ]
    assert not told, "\n".join(told)


async def test_no_secret_is_told_logged_kept_or_shown(tmp_path: Path) -> None:
    canaries = Canaries()
    port = free_port()
    keys, canaries.token = signed_in(tmp_path)
    store = StoreServer(port=str(port))
    with store:
        with contextlib.closing(store.client()) as client:
            client.config_set("requirepass", canaries.store)  # pyright: ignore[reportUnknownMemberType] - its kwargs are untyped
        async with surroundings() as there:
            service = Service(
                auth="keys",
                redis_url=f"redis://:{canaries.store}@127.0.0.1:{port}/0",
                model_base_url=f"http://127.0.0.1:{there}/v1",
                model="mock",
                model_api_key=canaries.model,
                webhook_url=f"http://127.0.0.1:{there}/hook?token={canaries.webhook}",
                webhook_secret=canaries.signing,
                webhook_tries_max=1,
                mcp_servers=declared_servers(tmp_path),
                mcp_wait_s=20.0,
                jwt_issuer="https://issuer.example",
                jwt_audience="contextd",
                jwt_keys=keys,
                log_level="debug",
                standby=False,
            )
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("CANARY_OF_A_TOOL", canaries.tool)
                with service:
                    await watch(service, canaries, store)


async def watch(service: Service, canaries: Canaries, store: StoreServer) -> None:
    """Use the service, restart it, use it again, and look."""
    made = run_command("keys", "create", "canary", *SCOPES, service=service)
    canaries.key = made.stdout.strip()
    assert made.returncode == 0, made.stderr
    found: dict[str, bytes] = {}
    for round_, credential in (("before", canaries.key), ("after", canaries.token)):
        async with HttpClient(service.url) as client:
            heard = await use(client, credential)
            heard.append(await asyncio.to_thread(garbled, service.port, credential))
            found |= {f"answer {n} {round_} the restart": h for n, h in enumerate(heard)}
        found |= shown(service)
        if round_ == "before":
            service.kill_everything()
            service.start()
    said = environments(service)
    assert canaries.model.encode() in said["worker"], "the one that needs it has it"
    assert canaries.tool.encode() in said["mcp_plain"]
    for name in ("model", "key", "token"):
        assert canaries.all[name].encode() not in said["gateway"]
    for name in ("model", "store", "webhook", "signing", "key", "token"):
        assert canaries.all[name].encode() not in said["mcp_plain"]
    found |= await said_by_commands(service, store, canaries)
    service.up.terminate()
    until(lambda: service.up.exit_code is not None, "the end of the service")
    found |= written(service.folder, store.data)
    look_through(canaries, found)
    assert any(b"model call failed" in raw for raw in found.values()), "the logs were read"


async def said_by_commands(
    service: Service, store: StoreServer, canaries: Canaries
) -> dict[str, bytes]:
    """What the commands of an operator print, one of them with a password that is wrong."""
    wrong = f"unix://{store.socket}?password=x{canaries.store}"
    given = {
        ("doctor", "--json"): service.environment,
        ("settings",): service.environment,
        ("keys", "list"): service.environment,
        ("doctor",): {**service.environment, "CONTEXTD_REDIS_URL": wrong},
    }
    async with asyncio.TaskGroup() as group:
        # In threads: the model's server is in this process.
        tasks = {
            words: group.create_task(
                asyncio.to_thread(
                    run_words,
                    [sys.executable, "-P", "-m", "runtime.cli", *words],
                    environment,
                    folder=service.folder,
                ),
                name=" ".join(words),
            )
            for words, environment in given.items()
        }
    done = {words: task.result() for words, task in tasks.items()}
    assert done["keys", "list"].returncode == 0
    assert done["doctor",].returncode == 1
    return {" ".join(w): (one.stdout + one.stderr).encode() for w, one in done.items()}
