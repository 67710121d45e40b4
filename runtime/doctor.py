"""`contextd doctor`: checks what contextd needs; each finding says what to do.

Changes nothing: it starts no store and binds no port for longer than a look.
"""

import asyncio
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
from pydantic import BaseModel, ValidationError
from redis.exceptions import RedisError, ResponseError
from rich.console import Console
from rich.text import Text

from runtime.banner import base_url
from runtime.exposure import file_exposure, kept_exposure, store_exposure
from runtime.findings import Check, Level
from runtime.port import PortTaken, listen
from runtime.role import store_url
from runtime.settings import Settings, unknown_variables
from runtime.store_address import BadDataFolder, check_data
from runtime.store_binary import VERSION_MIN, NoStoreBinary, find_store_binary
from storage import StorageError, connect, describe, make_client
from workers.outward import CheckedResolver, refusal_in

if TYPE_CHECKING:
    from workers.tools.mcp_servers import McpServer

_Client = Any
"""redis-py's annotations are partly missing, partly wrong; what comes out is checked here."""
_ANSWER_S_MAX = 5.0
_FREE_BYTES_MIN = 1_000_000_000
_FULL_BELOW_BYTES = 10_000_000
"""Free space that is as good as none."""
_PYTHON_MIN = (3, 11)


class _Model(BaseModel):
    id: str


class _Models(BaseModel):
    data: tuple[_Model, ...]


async def examine(settings: Settings) -> list[Check]:
    """Everything that is checked, in the order in which to repair it."""
    return [
        _python(),
        *_settings(),
        _data_folder(settings),
        *file_exposure(settings),
        *await _store(settings),
        await _port(settings),
        await _model_server(settings),
        *await _mcp_servers(settings),
    ]


def report(checks: Sequence[Check], *, as_json: bool) -> int:
    """Print the findings; the exit code, 1 if anything fails."""
    if as_json:
        rows = [asdict(check) for check in checks]
        sys.stdout.write(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        console = Console(highlight=False, soft_wrap=True)
        styles = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}
        for check in checks:
            console.print(
                Text.assemble(
                    (f"{check.level:<5}", styles[check.level]),
                    (f"{check.name:<14}", "bold"),
                    check.finding,
                )
            )
            if check.advice:
                console.print(Text(f"{'':19}{check.advice}", style="dim"))
    return 1 if any(check.level is Level.FAIL for check in checks) else 0


def _python() -> Check:
    found = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] < _PYTHON_MIN:
        return Check("python", Level.FAIL, found, "Install Python 3.11 or newer.")
    return Check("python", Level.OK, found)


def _settings() -> list[Check]:
    return [
        Check("settings", Level.WARN, sentence, "`contextd settings` lists all settings.")
        for sentence in unknown_variables()
    ]


def _data_folder(settings: Settings) -> Check:
    if settings.redis_url is not None:
        return Check("data folder", Level.OK, "not used: CONTEXTD_REDIS_URL is set")
    folder = settings.data
    if not folder.exists():
        parent = folder.absolute().parent
        while not parent.exists():
            parent = parent.parent
        if not os.access(parent, os.W_OK | os.X_OK):
            return Check(
                "data folder",
                Level.FAIL,
                f"{folder} is not there and cannot be made in {parent}",
                "Name another with --data or CONTEXTD_DATA.",
            )
        return _space(parent, f"{folder} will be made by the first `contextd up`")
    try:
        check_data(folder)
    except BadDataFolder as error:
        return Check("data folder", Level.FAIL, str(error))
    if not os.access(folder, os.W_OK | os.X_OK):
        advice = "Give it back to your user, or name another with --data."
        return Check("data folder", Level.FAIL, f"{folder} cannot be written to", advice)
    return _space(folder, f"{folder} can be written to")


def _space(folder: os.PathLike[str], finding: str) -> Check:
    free_bytes = shutil.disk_usage(folder).free
    shown = f"{finding}, {free_bytes / 1e9:.1f} GB free"
    advice = "Make room: a full disk stops every write."
    if free_bytes < _FULL_BELOW_BYTES:
        return Check("data folder", Level.FAIL, f"the disk of {folder} is full", advice)
    if free_bytes < _FREE_BYTES_MIN:
        return Check("data folder", Level.WARN, shown, advice)
    return Check("data folder", Level.OK, shown)


async def _store(settings: Settings) -> list[Check]:
    url = store_url(settings)
    if url is None:
        elsewhere = await _is_contextd(base_url(settings))
        return [_unseen(settings) if elsewhere else _binary(settings)]
    return await _running_store(settings, url)


def _unseen(settings: Settings) -> Check:
    """Of a contextd that runs and whose store is not to be seen from here."""
    finding = f"contextd answers at port {settings.port}, and no store runs in {settings.data}"
    advice = (
        "If its folder was taken away, put it back; else name its --data or CONTEXTD_REDIS_URL."
    )
    return Check("store", Level.WARN, finding, advice)


def _binary(settings: Settings) -> Check:
    try:
        binary = find_store_binary(settings.store_binary)
    except NoStoreBinary as error:
        return Check("store", Level.FAIL, str(error))
    found = f"{binary.product} {binary.version}, to be started by `contextd up`"
    return Check("store", Level.OK, f"{found} ({binary.path})")


async def _running_store(settings: Settings, url: str) -> list[Check]:
    where = (
        "CONTEXTD_REDIS_URL"
        if settings.redis_url is not None
        else f"{settings.data}/store.sock"
    )
    client = make_client(url, call_s_max=_ANSWER_S_MAX)
    try:
        server, replication, config = await asyncio.to_thread(_look, client)
    except (RedisError, OSError) as error:
        advice = (
            "Start it, or correct the address; `contextd up` without one runs a store itself."
        )
        reason = str(error) or type(error).__name__
        return [Check("store", Level.FAIL, f"{where} does not answer: {reason}", advice)]
    finally:
        client.close()
    return [
        _version(server, where),
        *_kept(settings, config),
        *_replicated(settings, replication),
        *await store_exposure(url),
        *await kept_exposure(settings, url),
        *await _workers(settings, url),
    ]


async def _workers(settings: Settings, url: str) -> list[Check]:
    """A row on living workers; none where the store does not answer."""
    count: int | None = None
    try:
        async with connect(url, settings) as store:
            count = await store.sessions.living()
    except* StorageError:
        pass  # the rows above say so
    if count is None:
        return []
    if count == 0:
        advice = "Start one with `contextd worker`: until then contexts wait."
        return [Check("workers", Level.WARN, "none lives", advice)]
    return [Check("workers", Level.OK, f"{count} living")]


def _look(
    client: _Client,
) -> tuple[Mapping[str, object], Mapping[str, object], dict[str, str] | None]:
    return client.info("server"), client.info("replication"), _config(client)


def _config(client: _Client) -> dict[str, str] | None:
    """The server's CONFIG, None where it may not be read (managed services, ACLs)."""
    found: dict[str, str] = {}
    try:
        for name in ("appendonly", "appendfsync", "maxmemory-policy"):
            found.update(client.config_get(name))
    except ResponseError:
        return None
    return found


def _replicated(settings: Settings, replication: Mapping[str, object]) -> list[Check]:
    """Whether answers can wait for replicas, where they have to."""
    wanted = settings.store_replicas_min
    if wanted == 0:
        return []
    there = int(str(replication.get("connected_slaves", 0)))
    finding = f"{there} connected; an answer waits for {wanted}"
    if there < wanted:
        advice = (
            "Connect more replicas to the primary, or lower CONTEXTD_STORE_REPLICAS_MIN: "
            "until then every call to the store fails."
        )
        return [Check("replicas", Level.FAIL, finding, advice)]
    if there > wanted:
        advice = (
            f"CONTEXTD_STORE_REPLICAS_MIN={there} also covers a failover to a replica that "
            "was behind the others."
        )
        return [Check("replicas", Level.WARN, finding, advice)]
    return [Check("replicas", Level.OK, finding)]


def _version(server: Mapping[str, object], where: str) -> Check:
    # Valkey calls itself 7.2.4 in redis_version, for clients that know no Valkey.
    product = "Valkey" if "valkey_version" in server else "Redis"
    version = str(server.get("valkey_version") or server.get("redis_version"))
    finding = f"{product} {version} at {where}"
    parts = [int(part) for part in version.split(".")[:2] if part.isdigit()]
    if tuple(parts) < VERSION_MIN:
        return Check("store", Level.FAIL, finding, "Take Redis 7.0 or newer, or Valkey.")
    return Check("store", Level.OK, finding)


def _kept(settings: Settings, config: Mapping[str, str] | None) -> list[Check]:
    if config is None:
        advice = "Ask its operator for appendonly, appendfsync and maxmemory-policy."
        return [Check("durability", Level.WARN, "the store does not show its CONFIG", advice)]
    appendonly, appendfsync = config["appendonly"], config["appendfsync"]
    policy = config["maxmemory-policy"]
    finding = f"{settings.durability}: appendonly {appendonly}, appendfsync {appendfsync}"
    if appendonly != "yes":
        advice = "CONFIG SET appendonly yes (and in its file), or nothing survives its end."
        durability = Check("durability", Level.FAIL, finding, advice)
    elif settings.durability == "strict" and appendfsync != "always":
        advice = "CONFIG SET appendfsync always, or CONTEXTD_DURABILITY=standard."
        durability = Check("durability", Level.FAIL, finding, advice)
    elif appendfsync == "no":
        advice = "CONFIG SET appendfsync everysec; `no` may lose half a minute."
        durability = Check("durability", Level.FAIL, finding, advice)
    else:
        durability = Check("durability", Level.OK, finding)
    if policy != "noeviction":
        advice = "CONFIG SET maxmemory-policy noeviction, or a full store drops contexts."
        return [durability, Check("eviction", Level.FAIL, policy, advice)]
    return [durability, Check("eviction", Level.OK, policy)]


async def _port(settings: Settings) -> Check:
    where = f"{settings.host} port {settings.port}"
    try:
        listen(settings.host, settings.port, places=0, backlog=0)
    except PortTaken as error:
        if await _is_contextd(base_url(settings)):
            return Check("port", Level.OK, f"{where}: contextd answers there")
        return Check("port", Level.FAIL, str(error))
    return Check("port", Level.OK, f"{where} is free")


async def _is_contextd(url: str) -> bool:
    """Whether a gateway answers; its OpenAPI page says whose it is."""
    try:
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=_ANSWER_S_MAX)
            ) as session,
            # The certificate is for the name that others know; nothing secret is said.
            session.get(f"{url}/openapi.json", ssl=False) as response,
        ):
            page: object = orjson.loads(await response.read())
    except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError):
        return False
    return b"contextd" in orjson.dumps(page)[:4096]


async def _model_server(settings: Settings) -> Check:
    url = settings.model_base_url
    if url is None:
        advice = "Set CONTEXTD_MODEL_BASE_URL (and CONTEXTD_MODEL_API_KEY) for a real model."
        return Check("model", Level.WARN, "scripted: canned replies, no model server", advice)
    key = settings.model_api_key
    headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key is not None else {}
    try:
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=CheckedResolver()),
                timeout=aiohttp.ClientTimeout(total=_ANSWER_S_MAX),
            ) as session,
            session.get(f"{url}/models", headers=headers, allow_redirects=False) as response,
        ):
            status, raw = response.status, await response.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        reason = refusal_in(error) or describe(error)
        finding = f"{url} cannot be reached ({reason})"
        advice = "Start the model server, or correct the address."
        if isinstance(error, aiohttp.ClientSSLError):
            advice = "Name the CA of its certificate in SSL_CERT_FILE, or correct the address."
        return Check("model", Level.FAIL, finding, advice)
    if status in {401, 403}:
        return Check(
            "model", Level.FAIL, f"{url} refuses the key", "Set CONTEXTD_MODEL_API_KEY."
        )
    if status != 200:
        advice = "The address ends in its version, as in http://127.0.0.1:11434/v1."
        return Check("model", Level.WARN, f"{url}/models answers {status}", advice)
    return _listed(settings.model, url, raw)


def _listed(model: str | None, url: str, raw: bytes) -> Check:
    try:
        names = [found.id for found in _Models.model_validate_json(raw).data]
    except ValidationError:
        return Check("model", Level.WARN, f"{url} answers, but lists no models")
    some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    if model is None:
        advice = f"Set CONTEXTD_MODEL to one of: {some}."
        return Check("model", Level.WARN, f"{url} answers; no model is chosen", advice)
    if model not in names:
        advice = f"It lists: {some}."
        return Check("model", Level.WARN, f"{url} does not list {model}", advice)
    return Check("model", Level.OK, f"{model} at {url}")


async def _mcp_servers(settings: Settings) -> list[Check]:
    if settings.mcp_servers is None:
        return []
    from workers.tools.mcp_servers import BadServers, read_servers

    try:
        servers = read_servers(settings.mcp_servers)
    except BadServers as error:
        return [Check("mcp servers", Level.FAIL, str(error), "docs/tools.md shows an example.")]
    async with asyncio.TaskGroup() as group:
        looks = [
            group.create_task(_mcp_server(name, server, settings), name=f"look at {name}")
            for name, server in servers.items()
        ]
    return [check for look in looks for check in look.result()]


async def _mcp_server(name: str, server: "McpServer", settings: Settings) -> list[Check]:
    """Start or reach it as a worker would; what it complains about goes to standard error."""
    from workers.tools.mcp_connection import McpConnection, ServerLost
    from workers.tools.registry import Registry

    registry = Registry((), settings)
    connection = McpConnection(
        name, server, registry=registry, config=settings, complaints=sys.stderr
    )
    try:
        await connection.look()
    except ServerLost as lost:
        advice = "Run its command by hand, or correct its address or its headers."
        return [Check("mcp server", Level.FAIL, f"{name}: {lost}", advice)]
    names = registry.names
    some = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    finding = f"{name} answers; tools offered: {some or 'none'}"
    advice = "Its tools need names and schemas that a model's server takes."
    return [
        Check("mcp server", Level.OK, finding),
        *(
            Check("mcp server", Level.WARN, f"{name}: {tool} is left out: {reason}", advice)
            for tool, reason in connection.left_out.items()
        ),
    ]
