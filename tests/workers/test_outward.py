"""What a worker connects to: what the operator's URLs stand for, and nothing behind it."""

import socket
import sys
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from storage import StorageConfig, connect
from tests.storage.arranging import create
from tests.support.elsewhere import elsewhere, leading_to, names_stand_for
from tests.support.model_server import ModelServer
from tests.support.playbook import CONTEXT_ID, Playbook
from tests.support.store_server import StoreServer
from tests.support.webhook_receiver import SECRET
from tests.workers.models.calling import Called, call, request
from workers import WorkerConfig
from workers.models import ModelConfig, OpenAIModel
from workers.outward import AddressRefused, CheckedResolver, addresses_of
from workers.tools import Registry, ToolConfig
from workers.tools.mcp_connection import McpConnection, ServerLost
from workers.tools.mcp_servers import HttpServer
from workers.webhooks import open_teller

REFUSED = (
    *("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"),
    *("2002:7f00:1::1", "0.0.0.0", "::", "::ffff:0.0.0.0", "224.0.0.1", "ff02::1"),
    *("169.254.169.254", "169.254.170.2", "fe80::1", "fe80::1%lo", "::ffff:169.254.169.254"),
    *("64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "100.100.100.200", "168.63.129.16"),
    *("192.0.0.192", "fd00:ec2::254", "fd20:ce::254", "::ffff:100.100.100.200"),
)
TAKEN = ("10.0.0.5", "172.18.0.2", "192.168.1.9", "fd12::1", "93.184.215.14", "2606:2800::1")


@pytest.fixture(scope="module")
def store() -> Iterator[StoreServer]:
    with StoreServer() as server:
        yield server


async def ask(url: str) -> Called:
    """Ask a model server once."""
    model = OpenAIModel(ModelConfig(model_base_url=url, model="mock"))
    try:
        return await call(model, request(timeout_s=10))
    finally:
        await model.close()


async def look(url: str) -> str:
    """Connect to an MCP server; why that failed."""
    config = ToolConfig(mcp_connect_s=10, mcp_answer_s=5)
    connection = McpConnection(
        "far",
        HttpServer(url=url),
        registry=Registry((), config),
        config=config,
        complaints=sys.stderr,
    )
    with pytest.raises(ServerLost) as lost:
        await connection.look()
    return str(lost.value)


async def told(server: StoreServer, url: str) -> str:
    """Tell a webhook of something; why it was not taken."""
    client = server.client()
    client.flushall()  # pyright: ignore[reportUnknownMemberType] - its kwargs are untyped
    client.close()
    config = StorageConfig.model_validate(
        {"webhook_url": url, "webhook_secret": SECRET, "webhook_events": "context-created"}
    )
    async with connect(server.url, config) as store:
        teller = open_teller(store, WorkerConfig(), clock=lambda: 1, draw=lambda: 0.0)
        assert teller is not None
        try:
            await create(store, Playbook().log[0])
            with capture_logs() as logs:
                await teller.tell(CONTEXT_ID)
        finally:
            await teller.close()
    (line,) = logs
    reason: str = line["reason"]
    return reason


# What a name may stand for


@pytest.mark.parametrize("address", REFUSED)
async def test_a_name_that_stands_for_what_no_name_may_is_refused(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names_stand_for(monkeypatch, [address])
    with pytest.raises(AddressRefused, match=r"model\.example"):
        await CheckedResolver().resolve("model.example", 80, socket.AF_UNSPEC)
    with pytest.raises(AddressRefused):
        await addresses_of("model.example", 80)


@pytest.mark.parametrize("address", TAKEN)
async def test_a_name_of_a_private_or_public_network_is_taken(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names_stand_for(monkeypatch, [address])
    assert await addresses_of("ollama", 11434) == (address,)


@pytest.mark.parametrize("name", ["localhost", "model.localhost"])
async def test_this_machine_is_meant_by_its_own_names(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names_stand_for(monkeypatch, ["127.0.0.1", "::1"])
    assert await addresses_of(name, 80) == ("127.0.0.1", "::1")


@pytest.mark.parametrize("name", ["notlocalhost", "localhost.example"])
async def test_and_by_no_others(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names_stand_for(monkeypatch, ["127.0.0.1"])
    with pytest.raises(AddressRefused):
        await addresses_of(name, 80)


async def test_of_several_addresses_those_are_left_out_that_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names_stand_for(monkeypatch, ["169.254.169.254", "10.0.0.5", "127.0.0.1"])
    assert await addresses_of("model.example", 80) == ("10.0.0.5",)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.5", "::1", "169.254.169.254"])
async def test_an_address_is_taken_as_the_operator_has_written_it(address: str) -> None:
    assert await addresses_of(address, 80) == (address,)


# The three who connect


async def test_none_of_them_connects_to_what_a_name_must_not_stand_for(
    monkeypatch: pytest.MonkeyPatch, store: StoreServer
) -> None:
    async with elsewhere() as there:
        names_stand_for(monkeypatch, ["127.0.0.1"])
        url = f"http://rebound.example:{there.port}"
        failure = (await ask(f"{url}/v1")).failure
        assert (failure.code, failure.retryable) == ("connection", False)
        assert "rebound.example stands for 127.0.0.1" in failure.detail
        assert "rebound.example stands for 127.0.0.1" in await look(f"{url}/mcp")
        assert await told(store, f"{url}/hook") == "AddressRefused"
        assert there.visits == []


async def test_a_name_that_is_none_is_refused_to_each_of_them(store: StoreServer) -> None:
    url = "http://model..example"
    failure = (await ask(f"{url}/v1")).failure
    assert (failure.code, failure.retryable) == ("connection", False)
    assert "model..example is no name" in failure.detail
    assert "model..example is no name" in await look(f"{url}/mcp")
    assert await told(store, f"{url}/hook") == "AddressRefused"


async def test_none_of_them_follows_a_redirect(store: StoreServer) -> None:
    async with elsewhere() as there, leading_to(there.port) as port:
        url = f"http://127.0.0.1:{port}"
        assert "redirects (HTTP 307)" in (await ask(f"{url}/v1")).failure.detail
        assert "not followed" in await look(f"{url}/mcp")
        assert await told(store, f"{url}/hook") == "status 307"
        assert there.visits == []


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "017700000001"]
)
async def test_an_address_in_disguise_is_not_connected_to(
    host: str, store: StoreServer
) -> None:
    async with elsewhere() as there:
        url = f"http://{host}:{there.port}"
        assert (await ask(f"{url}/v1")).failure.code == "connection"
        await look(f"{url}/mcp")
        assert await told(store, f"{url}/hook") in {"InvalidUrlClientError", "AddressRefused"}
        assert there.visits == []


async def test_what_was_looked_at_is_what_is_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = ModelServer()
    async with server.running() as base_url, elsewhere() as there:
        asked = names_stand_for(monkeypatch, ["127.0.0.1"], ["169.254.169.254"])
        called = await ask(base_url.replace("127.0.0.1", "model.localhost"))
        assert called.text
        assert asked == ["model.localhost"]
        (received,) = server.requests
        assert received.headers["Host"].startswith("model.localhost:")

        asked = names_stand_for(monkeypatch, ["127.0.0.1"], ["169.254.169.254"])
        await look(f"http://mcp.localhost:{there.port}/mcp")
        assert asked == ["mcp.localhost"]
        assert there.visits
        for visit in there.visits:
            assert f"host: mcp.localhost:{there.port}".encode() in visit.lower()


async def test_an_mcp_server_is_found_at_any_of_its_addresses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with elsewhere() as there:
        names_stand_for(monkeypatch, ["::1", "127.0.0.1"])
        await look(f"http://localhost:{there.port}/mcp")
        assert there.visits
