"""No client decides where the service connects to: whatever URL it sends, nobody goes there."""

from collections.abc import Iterator, Sequence

import pytest

from tests.support.elsewhere import elsewhere
from tests.support.model_server import ModelServer
from tests.support.service import Client, Json, serving

ADDRESSES = (
    *("127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "017700000001"),
    *(
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "localhost",
        "LOCALHOST",
        "api.example@127.0.0.1",
    ),
    *("127。0。0。1", "①②⑦.⓪.⓪.①", "127.0.0.1#.api.example", "127.0.0.1\\.api.example"),
)
SCHEMES = ("http", "https", "HTTP", "gopher", "redis", "file", "ftp", "//", "unix")


def urls(port: int) -> Iterator[str]:
    """A place of this machine, in every form that has hidden one."""
    for host in ADDRESSES:
        where = f"{host}:{port}" if "#" not in host and "\\" not in host else host
        yield f"http://{where}/v1"
    for scheme in SCHEMES:
        yield f"{scheme.removesuffix('//')}{'' if scheme == '//' else ':'}//127.0.0.1:{port}/v1"


def asked_by(url: str) -> list[tuple[str, Json]]:
    """Requests with this URL wherever a client may put one, and where it must not."""
    config: Json = {
        "model": url,
        "parameters": {
            **dict.fromkeys(("api_base", "base_url", "api_key", "custom_llm_provider"), url),
            **{key: {"Host": url} for key in ("extra_headers", "headers", "extra_body")},
            "user": url,
        },
    }
    image = {"type": "image_url", "image_url": {"url": url}}
    chat: Json = {"model": url[:200], "messages": [{"role": "user", "content": [image]}]}
    return [
        ("/api/contexts", {"config": config, "message": {"content": "hi"}}),
        *(
            ("/api/contexts", {"config": {name: url}, "message": {"content": "hi"}})
            for name in ("base_url", "model_base_url", "mcp_servers", "webhook_url", "api_key")
        ),
        (
            "/api/contexts",
            {
                "message": {
                    "content": [
                        {"type": "text", "text": url},
                        {"type": "image", "url": url},
                        image,
                        {"type": "file_reference", "name": "a", "url": url},
                        {"type": url, "url": url},
                    ],
                    "attachments": [{"type": "file_reference", "name": "a", "url": url}],
                    "metadata": {"callback_url": url},
                }
            },
        ),
        ("/v1/chat/completions", chat),
        ("/v1/chat/completions", {**chat, "base_url": url}),
        (
            "/v1/responses",
            {"model": "m", "input": "hi", "tools": [{"type": "mcp", "server_url": url}]},
        ),
        ("/v1/responses", {"model": "m", "input": url, "previous_response_id": url[:100]}),
        ("/api/chat/text", {"query": url, "context": url}),
        ("/api/notes", {"title": "a", "text": url}),
    ]


async def send_all(client: Client, requests: Sequence[tuple[str, Json]]) -> None:
    for path, body in requests:
        headers = {"Prefer": "wait=10"}
        async with client.session.post(client.url + path, json=body, headers=headers) as answer:
            assert answer.status < 500, (path, body, await answer.text())


async def test_whatever_url_a_client_sends_nobody_goes_there(store_url: str) -> None:
    server = ModelServer()
    async with elsewhere() as there, server.running() as base_url:
        model = {"model_base_url": base_url, "model": "mock", "model_api_key": "sk-s3cret"}
        async with serving(store_url, worker=model) as service:
            given = list(urls(there.port))
            for url in given:
                await send_all(service.client, asked_by(url))
        assert there.visits == []
        assert len(server.requests) >= 3 * len(given), "the model was asked all along"
        for received in server.requests:
            assert received.headers["Authorization"] == "Bearer sk-s3cret"
            assert received.body.keys() <= {
                *("model", "messages", "stream", "stream_options", "user", "tools"),
            }, received.body


@pytest.mark.parametrize(
    ("url", "is_sent"),
    [
        ("https://pictures.example/a.png", True),
        ("data:image/png;base64,AAAA", True),
        ("http://169.254.169.254/latest/meta-data", False),
        ("file:///etc/passwd", False),
        ("//169.254.169.254/", False),
    ],
)
async def test_a_model_s_server_is_sent_to_no_image_inside_of_its_network(
    store_url: str, url: str, is_sent: bool
) -> None:
    server = ModelServer()
    async with server.running() as base_url:
        model = {"model_base_url": base_url, "model": "mock"}
        async with serving(store_url, worker=model) as service:
            parts = [{"type": "text", "text": "look"}, {"type": "image", "url": url}]
            answer = await service.client.say(await service.client.create(), parts)
            assert answer.status == 200
        (received, *_) = server.requests
        assert (f"'url': '{url}'" in str(received.body["messages"])) is is_sent
