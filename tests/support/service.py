"""Gateways and workers in this process over a real store, for the length of a block.

Each has a store connection of its own, as separate processes would. The scripted model
answers. Every answer that a `Client` gets is held to its model (`gateway/views.py`).
"""

import asyncio
import contextlib
import re
import socket
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import aiohttp
import orjson
from pydantic import BaseModel
from typing_extensions import override
from yarl import URL

from dashboard import (
    ActivityRecords,
    ActivityView,
    DashboardConfig,
    EndpointList,
    Stats,
    WebSocketConfig,
)
from gateway import Extension, GatewayConfig, serve as serve_gateway
from gateway.admin_views import (
    AuditPage,
    DeadLetterList,
    LetterRetried,
    RestartAccepted,
    RestartReport,
    RetentionPlan,
)
from gateway.operators.views import (
    CancelDelivered,
    CompactionAsked,
    GlanceList,
    InspectionView,
    LettersHandled,
    ProcessList,
    Requeued,
    WorkerList,
)
from gateway.stream_views import EventsPage
from gateway.views import (
    ActionResponse,
    ActionStatus,
    ChatAnswer,
    ContextExport,
    ContextList,
    LimitsView,
    Liveness,
    LogPage,
    MessageList,
    MessageView,
    NoteList,
    NoteView,
    ProblemDocument,
    ProblemTypeView,
    Readiness,
    TicketView,
    TitleView,
    TurnList,
)
from runtime.extensions import extensions as extensions_of
from runtime.settings import Settings
from storage import NO_TRACES, StorageConfig, Store, Tracer, connect
from tests.support.described import DescribedSocket, hold_event
from workers import WorkerConfig, serve as serve_worker

Json: TypeAlias = Any
"""What the service has answered: it is asserted on, key by key, not modelled again."""
Options = Mapping[str, object]

WITHIN_S = 40.0
DOCUMENTS = {"/openapi.json", "/asyncapi.json"}
FRAME_BYTES_MAX = 16_777_216

_CONTEXTS = "/(?:api|v1)/contexts"
_VIEWS: tuple[tuple[str, tuple[type[BaseModel], ...]], ...] = (
    (f"GET {_CONTEXTS}", (ContextList,)),
    (f"GET {_CONTEXTS}/[^/]+/state([?].*)?", (ActionResponse, EventsPage)),
    (f"GET {_CONTEXTS}/[^/]+/messages([?].*)?", (MessageList,)),
    (f"GET {_CONTEXTS}/[^/]+/messages/.*", (MessageView,)),
    (f"GET {_CONTEXTS}/[^/]+/turns([?].*)?", (TurnList,)),
    (f"GET {_CONTEXTS}/[^/]+/log([?].*)?", (LogPage,)),
    (f"GET {_CONTEXTS}/[^/]+/export", (ContextExport,)),
    (f"(?:GET|POST|PUT|PATCH|DELETE) {_CONTEXTS}.*", (ActionResponse,)),
    ("GET /api/actions/[^/]+", (ActionStatus,)),
    ("POST /api/tickets", (TicketView,)),
    ("GET /api/limits", (LimitsView,)),
    ("POST /admin/(?:restart|drain)", (RestartAccepted,)),
    ("GET /admin/restarts/[^/]+", (RestartReport,)),
    ("GET /admin/retention([?].*)?", (RetentionPlan,)),
    ("GET /admin/audit([?].*)?", (AuditPage,)),
    ("GET /admin/dead_letters([?].*)?", (DeadLetterList,)),
    ("POST /admin/dead_letters/(?:retry|drop)", (LettersHandled,)),
    ("POST /admin/dead_letters/[^/]+/retry", (LetterRetried,)),
    ("GET /admin/workers", (WorkerList,)),
    ("GET /admin/processes", (ProcessList,)),
    ("GET /admin/contexts([?].*)?", (GlanceList,)),
    ("GET /admin/contexts/[^/]+", (InspectionView,)),
    ("POST /admin/contexts/[^/]+/requeue", (Requeued,)),
    ("POST /admin/contexts/[^/]+/cancel", (CancelDelivered,)),
    ("POST /admin/contexts/[^/]+/compact", (CompactionAsked,)),
    ("POST /api/chat/title", (TitleView,)),
    ("POST /api/chat/[a-z]+", (ChatAnswer,)),
    ("GET /api/notes", (NoteList,)),
    ("POST /api/notes", (NoteView,)),
    ("GET /api/v1/stats", (Stats,)),
    ("GET /api/v1/config/websocket", (WebSocketConfig,)),
    ("GET /healthz?", (Liveness,)),
    ("GET /readyz", (Readiness,)),
    ("GET /problems/[^/]+", (ProblemTypeView,)),
    ("GET /api/v1/metrics/activity", (ActivityView,)),
    ("GET /api/v1/(?:metrics/events|activity/recent)", (ActivityRecords,)),
    ("GET /api/v1/endpoints", (EndpointList,)),
)


def hold_to_views(method: str, path: str, answer: "Answer") -> None:
    """Fail unless an answer is what OpenAPI says it is, no field more or less."""
    content_type = answer.headers.get("Content-Type", "").partition(";")[0]
    if answer.status in {204, 304} or method == "HEAD":
        assert answer.body == b""
    elif content_type == "application/problem+json":
        assert ProblemDocument.model_validate_json(answer.body).status == answer.status
    elif content_type == "application/json" and path not in DOCUMENTS:
        assert answer.status < 400 or path == "/readyz", answer
        shape = f"{method} {path}"
        models = next(models for like, models in _VIEWS if re.fullmatch(like, shape))
        is_page = answer.body.startswith(b'{"events"')
        models[-1 if is_page else 0].model_validate_json(answer.body)
    else:
        assert answer.status < 400, answer


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        return orjson.loads(self.body)

    @property
    def context(self) -> Json:
        return self.json["context"]

    @property
    def problem(self) -> str:
        """Name of the problem's type; fails if it is no problem."""
        assert self.headers["Content-Type"] == "application/problem+json", self
        name: str = self.json["type"]
        return name.removeprefix("/problems/")


@dataclass(frozen=True, slots=True)
class SseFrame:
    """One server-sent event, and its bytes."""

    id: str
    event: str
    data: Json
    raw: bytes


@dataclass(slots=True)
class Client:
    """Talks to one gateway."""

    url: str
    session: aiohttp.ClientSession
    key: str | None = None
    """The API key that comes with every request."""

    @property
    def credential(self) -> dict[str, str]:
        """The header that carries it."""
        return {} if self.key is None else {"Authorization": f"Bearer {self.key}"}

    async def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | list[tuple[str, str]] | None = None,
    ) -> Answer:
        """One request; `raw` is sent as it is, `body` as JSON."""
        given = list((headers or {}).items()) if not isinstance(headers, list) else headers
        given += self.credential.items()
        if body is not None:
            raw = orjson.dumps(body)
        if raw is not None and not any(name == "Content-Type" for name, _ in given):
            given.append(("Content-Type", "application/json"))
        async with (
            asyncio.timeout(90),
            self.session.request(
                method,
                URL(self.url + path, encoded=True),
                data=raw,
                headers=given,
                allow_redirects=False,
            ) as response,
        ):
            answer = Answer(response.status, response.headers, await response.read())
        hold_to_views(method, path.partition("?")[0], answer)
        return answer

    async def get(self, path: str, **headers: str) -> Answer:
        """GET; header names have underscores for dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.send("GET", path, headers=named)

    async def create(self, **body: object) -> str:
        """Make a context and return its id."""
        answer = await self.send("POST", "/api/contexts", body)
        assert answer.status == 201, answer
        context_id: str = answer.context["id"]
        return context_id

    async def act(
        self, context_id: str, action: str, body: object = None, **headers: str
    ) -> Answer:
        """Send an action; header names have underscores for dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        path = f"/api/contexts/{context_id}/actions/{action}"
        return await self.send("POST", path, {} if body is None else body, headers=named)

    async def say(self, context_id: str, content: object, **headers: str) -> Answer:
        """Send a message and wait until the turn rests, or as `Prefer` says."""
        headers = {"Prefer": "wait=30", **headers}
        return await self.act(context_id, "send_message", {"content": content}, **headers)

    async def state(self, context_id: str) -> Json:
        """The context as it is now."""
        answer = await self.get(f"/api/contexts/{context_id}/state")
        assert answer.status == 200, answer
        return answer.context

    async def until(self, context_id: str, *statuses: str) -> Json:
        """Poll until the context has one of these statuses."""
        etag = ""
        async with asyncio.timeout(WITHIN_S):
            while True:
                headers = {"If_None_Match": etag, "Prefer": "wait=1"} if etag else {}
                answer = await self.get(f"/api/contexts/{context_id}/state", **headers)
                if answer.status == 200 and answer.json["status"] in statuses:
                    return answer.context
                etag = answer.headers.get("ETag", etag)

    @contextlib.asynccontextmanager
    async def stream(
        self, context_id: str, *, after: str | None = None, query: str = ""
    ) -> AsyncGenerator["Stream", None]:
        """Open the context's stream, perhaps from a cursor on."""
        path = f"/api/contexts/{context_id}/events{query}"
        async with self.stream_at(path, after=after) as stream:
            yield stream

    @contextlib.asynccontextmanager
    async def stream_at(
        self, path: str, *, after: str | None = None
    ) -> AsyncGenerator["Stream", None]:
        """Open a stream by its address, perhaps from an event's id on."""
        headers = {"Last-Event-ID": after} if after is not None else {}
        headers |= self.credential
        async with self.session.get(
            URL(self.url + path, encoded=True), headers=headers
        ) as response:
            yield Stream(response)


@dataclass(slots=True)
class Stream:
    """A stream of server-sent events that is read frame by frame."""

    response: aiohttp.ClientResponse
    comments: list[bytes] = field(default_factory=list[bytes])
    retries_ms: list[int] = field(default_factory=list[int])

    async def __aiter__(self) -> AsyncIterator[SseFrame]:
        while (frame := await self.next()) is not None:
            yield frame

    async def next(self, within_s: float = WITHIN_S) -> SseFrame | None:
        """The next event; None at the end of the stream."""
        async with asyncio.timeout(within_s):
            while True:
                raw = await self._block()
                if raw is None:
                    return None
                fields: dict[str, str] = {}
                for line in raw.decode().split("\n"):
                    name, _, value = line.partition(": ")
                    if line.startswith(":"):
                        self.comments.append(line.encode())
                    elif name == "retry":
                        self.retries_ms.append(int(value))
                    elif name:
                        assert name not in fields, raw
                        fields[name] = value
                if "event" in fields:
                    data = orjson.loads(fields["data"])
                    hold_event(self.response.url.path, fields, data)
                    return SseFrame(fields.get("id", ""), fields["event"], data, raw)

    async def take(self, *events: str, within_s: float = WITHIN_S) -> list[SseFrame]:
        """Every event up to the first of these kinds, that one included."""
        taken: list[SseFrame] = []
        async with asyncio.timeout(within_s):
            while not taken or taken[-1].event not in events:
                frame = await self.next(within_s)
                assert frame is not None, (events, [frame.event for frame in taken])
                taken.append(frame)
        return taken

    async def until(
        self, enough: Callable[[Sequence[SseFrame]], bool], within_s: float = WITHIN_S
    ) -> list[SseFrame]:
        """Every event up to the one that makes it enough."""
        taken: list[SseFrame] = []
        async with asyncio.timeout(within_s):
            while not enough(taken):
                frame = await self.next(within_s)
                assert frame is not None, [frame.event for frame in taken]
                taken.append(frame)
        return taken

    async def _block(self) -> bytes | None:
        lines: list[bytes] = []
        while True:
            line = await self.response.content.readline()
            if not line:
                return None
            if line == b"\n":
                if lines:
                    return b"".join(lines)
                continue
            lines.append(line)


def text_of(frames: list[SseFrame]) -> str:
    """The text of all replies that frames show, put together as a client does."""
    return "".join(frame.data["text"] for frame in frames if frame.event == "reply-delta")


@dataclass(slots=True)
class Service:
    """What runs."""

    clients: list[Client]
    stores: list[Store]
    """Those of the gateways."""
    _stops: dict[str, asyncio.Event]

    @override
    def __repr__(self) -> str:
        return f"<Service {len(self.clients)} gateways>"

    @property
    def client(self) -> Client:
        """Of the first gateway."""
        return self.clients[0]

    def action_id(self, context_id: str, number: int) -> str:
        """Id of a context's nth action in the epoch that there is now."""
        return f"{context_id}.{self.stores[0].epoch}.{number}"

    def stop(self, name: str) -> None:
        """Have `gateway 0`, `worker 0`, ... drain and end."""
        self._stops[name].set()


async def eventually(
    holds: Callable[[], Awaitable[bool]], *, within_s: float = WITHIN_S
) -> None:
    """Ask until it is so."""
    async with asyncio.timeout(within_s):
        while not await holds():  # noqa: ASYNC110 - nobody could set an event: it is elsewhere
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def serving(
    store_url: str,
    *,
    gateways: int = 1,
    workers: int = 1,
    gateway: Options | None = None,
    worker: Options | None = None,
    storage: Options | None = None,
    dashboard: Options | None = None,
    worker_store_url: str | None = None,
    extensions: Callable[[Store], Sequence[Extension]] | None = None,
    tracer: Tracer = NO_TRACES,
) -> AsyncGenerator[Service, None]:
    """Run gateways and workers, with options of their configurations.

    `worker_store_url`: where workers reach the store by another name than gateways.
    `extensions`: what each gateway serves of other rooms, if not all that contextd does.
    `tracer`: who is told of spans.
    """
    for configured, options in (
        (GatewayConfig, gateway),
        (WorkerConfig, worker),
        (StorageConfig, storage),
        (DashboardConfig, dashboard),
    ):
        assert set(options or {}) <= set(configured.model_fields), options
    storage_config = StorageConfig.model_validate(storage or {})
    given = {"scripted_chunk_ms": 0, "draft_ms": 0, "drain_s": 0.5, **(worker or {})}
    worker_config = WorkerConfig.model_validate(given)
    failure: Exception | None = None
    async with contextlib.AsyncExitStack() as stack:
        reserved = [stack.enter_context(_reserved_port()) for _ in range(gateways)]
        ports: list[int] = [listener.getsockname()[1] for listener in reserved]
        session = await stack.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                read_bufsize=FRAME_BYTES_MAX,
                max_line_size=FRAME_BYTES_MAX,
                ws_response_class=DescribedSocket,
            )
        )
        stores = [
            await stack.enter_async_context(connect(url, storage_config, tracer=tracer))
            for url in [store_url] * gateways + [worker_store_url or store_url] * workers
        ]
        names = [f"gateway {n}" for n in range(gateways)]
        names += [f"worker {n}" for n in range(workers)]
        stops = {name: asyncio.Event() for name in names}
        group = await stack.enter_async_context(asyncio.TaskGroup())
        for stop in stops.values():
            stack.callback(stop.set)
        async with asyncio.timeout(WITHIN_S):
            for name, store in zip(names, stores, strict=True):
                kind, _, number = name.partition(" ")
                ready = asyncio.Event()
                if kind == "gateway":
                    config = GatewayConfig.model_validate(
                        {
                            "auth": "off",
                            "gateway_drain_s": 1.0,
                            "farewell_s": 0,
                            **(gateway or {}),
                            "port": ports[int(number)],
                        }
                    )
                    settings = Settings.model_validate(dashboard or {})
                    run = serve_gateway(
                        *(config, store),
                        stop=stops[name],
                        ready=ready.set,
                        extensions=(
                            extensions(store) if extensions else extensions_of(settings, store)
                        ),
                    )
                else:
                    run = serve_worker(worker_config, store, stop=stops[name], ready=ready.set)
                group.create_task(run, name=name)
                await ready.wait()
        clients = [Client(f"http://127.0.0.1:{port}", session) for port in ports]
        try:
            yield Service(clients, stores[:gateways], stops)
        except Exception as error:  # noqa: BLE001 - raised below, out of a dozen task groups
            failure = error
    if failure is not None:
        raise failure


@contextlib.contextmanager
def _reserved_port() -> Generator[socket.socket, None, None]:
    """A bound socket that does not listen: gateways share its port, nobody else gets it."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", 0))
        yield listener
