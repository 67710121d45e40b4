"""Tokens of an issuer: what comes in, and every way in which one is not what it says."""

import base64
import contextlib
import hashlib
import hmac
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import aiohttp
import jwt
import orjson
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from tests.support.service import Client, Options, serving

ISSUER: Final = "https://issuer.example"
AUDIENCE: Final = "contextd"
KEY: Final = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
OTHER: Final = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
NOW_S: Final = int(time.time())  # noqa: TID251 - tokens are of the time that a real service has
DAY_S: Final = 86_400
CURVE: Final = ec.generate_private_key(ec.SECP256R1())


def public_jwk(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, key_id: str
) -> dict[str, Any]:
    """The public half, as an issuer shows it."""
    if isinstance(key, rsa.RSAPrivateKey):
        shown = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        return {**shown, "kid": key_id, "alg": "RS256", "use": "sig"}
    shown = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**shown, "kid": key_id, "alg": "ES256", "use": "sig"}


@dataclass(slots=True)
class Issuer:
    """Shows its keys, and counts how often they were asked for."""

    keys: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    padding: int = 0
    """Spaces before the key set."""
    asked: int = 0
    url: str = ""

    async def show(self, request: web.Request) -> web.StreamResponse:
        """Answer with the key set, in pieces."""
        self.asked += 1
        response = web.StreamResponse()
        await response.prepare(request)
        said = b" " * self.padding + orjson.dumps({"keys": self.keys})
        for at in range(0, len(said), 65_536):
            await response.write(said[at : at + 65_536])
        await response.write_eof()
        return response

    async def send_away(self, _request: web.Request) -> web.Response:
        """Answer that the keys are at the other address."""
        return web.Response(status=302, headers={"Location": "/keys"})


@contextlib.asynccontextmanager
async def issuing() -> AsyncGenerator[Issuer, None]:
    """Run an issuer on this machine."""
    issuer = Issuer([public_jwk(KEY, "one"), public_jwk(CURVE, "curve")])
    app = web.Application()
    app.router.add_get("/keys", issuer.show)
    app.router.add_get("/elsewhere", issuer.send_away)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    issuer.url = f"http://{host}:{port}/keys"
    try:
        yield issuer
    finally:
        await runner.cleanup()


def claims(**changes: object) -> dict[str, Any]:
    """What a good token says; None leaves a claim out."""
    said = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ada",
        "exp": NOW_S + DAY_S,
        "scope": "contexts:read contexts:write openid",
        **changes,
    }
    return {name: value for name, value in said.items() if value is not None}


def signed(
    said: Mapping[str, Any] | None = None,
    *,
    key: Any = KEY,
    algorithm: str = "RS256",
    key_id: str | None = "one",
) -> str:
    """A token."""
    headers = {} if key_id is None else {"kid": key_id}
    return jwt.encode(dict(said or claims()), key, algorithm=algorithm, headers=headers)


@dataclass(frozen=True, slots=True)
class Scene:
    """A service that takes an issuer's tokens."""

    client: Client
    issuer: Issuer

    def of(self, token: str) -> Client:
        """Somebody with a token."""
        return replace(self.client, key=token)

    async def status(self, token: str) -> int:
        """How somebody with a token is answered."""
        return (await self.of(token).get("/api/contexts")).status


@contextlib.asynccontextmanager
async def trusting(store_url: str, **gateway: object) -> AsyncGenerator[Scene, None]:
    """Run a service and an issuer that it trusts."""
    async with issuing() as issuer:
        options: Options = {
            "auth": "keys",
            "jwt_issuer": ISSUER,
            "jwt_audience": AUDIENCE,
            "jwt_keys": issuer.url,
            **gateway,
        }
        async with serving(store_url, workers=0, gateway=options) as service:
            yield Scene(service.client, issuer)


async def test_a_token_brings_its_subject_as_owner_and_its_scopes(store_url: str) -> None:
    async with trusting(store_url) as scene:
        ada = scene.of(signed())
        made = await ada.send("POST", "/api/contexts", {})
        assert (made.status, made.context["owner"]) == (201, "jwt:ada")
        assert (await ada.send("POST", "/admin/restart", {})).status == 403
        reads = scene.of(signed(claims(scope=None, scp=["contexts:read"])))
        assert (await reads.get("/api/contexts")).status == 200
        assert (await reads.send("POST", "/api/contexts", {})).status == 403
        eve = scene.of(signed(claims(sub="eve")))
        foreign = await eve.get(f"/api/contexts/{made.context['id']}/state")
        assert (foreign.status, foreign.problem) == (404, "not-found")
        assert await scene.status(signed(key=CURVE, algorithm="ES256", key_id="curve")) == 200
        assert scene.issuer.asked == 1


WRONG: Final[Mapping[str, dict[str, Any]]] = {
    "expired": claims(exp=NOW_S - 60),
    "not yet": claims(nbf=NOW_S + DAY_S),
    "without an end": claims(exp=None),
    "for somebody else": claims(aud="other"),
    "for nobody": claims(aud=None),
    "for a list of others": claims(aud=["other", f"{AUDIENCE}.example"]),
    "of somebody else": claims(iss="https://other.example"),
    "of nobody": claims(iss=None),
    "about nobody": claims(sub=None),
    "whose end is no number": claims(exp="tomorrow"),
    "whose end never comes": claims(exp=float("inf")),
    "whose subject is no text": claims(sub=7),
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_token_that_says_something_wrong_is_refused(store_url: str, name: str) -> None:
    async with trusting(store_url) as scene:
        assert await scene.status(signed(WRONG[name])) == 401


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(value)).rstrip(b"=").decode()


def _hmac_with(secret: bytes, algorithm: object = "HS256") -> str:
    head, body = _part({"alg": algorithm, "kid": "one"}), _part(claims())
    mac = hmac.new(secret, f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def forged() -> Mapping[str, str]:
    """Tokens that somebody else has made, by what they try."""
    head, body, signature = signed().split(".")
    own = public_jwk(OTHER, "one")
    pem = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    nothing = base64.urlsafe_b64encode(bytes(64)).rstrip(b"=").decode()
    return {
        "no algorithm": f"{_part({'alg': 'none', 'kid': 'one'})}.{body}.",
        "none, in capitals": f"{_part({'alg': 'NONE', 'kid': 'one'})}.{body}.",
        "none, in both": f"{_part({'alg': 'nOnE', 'kid': 'one'})}.{body}.{signature}",
        "no word of an algorithm": f"{_part({'kid': 'one'})}.{body}.{signature}",
        "several algorithms": f"{_part({'alg': ['RS256'], 'kid': 'one'})}.{body}.{signature}",
        "the public key as a secret": _hmac_with(pem),
        "the shown key as a secret": _hmac_with(orjson.dumps(public_jwk(KEY, "one"))),
        "no secret": _hmac_with(b""),
        "the public key as a secret, by the key's algorithm": _hmac_with(pem, "RS256"),
        "nothing as a curve's signature": (
            f"{_part({'alg': 'ES256', 'kid': 'curve'})}.{body}.{nothing}"
        ),
        "a curve's algorithm with another key": (
            f"{_part({'alg': 'ES256', 'kid': 'one'})}.{body}.{signature}"
        ),
        "another key under the same id": signed(key=OTHER),
        "a key that comes along": jwt.encode(
            claims(), OTHER, algorithm="RS256", headers={"kid": "one", "jwk": own}
        ),
        "an address of a key": jwt.encode(
            claims(),
            OTHER,
            algorithm="RS256",
            headers={"kid": "x", "jku": "http://127.0.0.1:9/"},
        ),
        "an address of a certificate": jwt.encode(
            *(claims(), OTHER, "RS256"),
            headers={"kid": "one", "x5u": "http://127.0.0.1:9/", "x5c": ["AAAA"]},
        ),
        "what must be understood and is not": jwt.encode(
            claims(), KEY, algorithm="RS256", headers={"kid": "one", "crit": ["x"], "x": 1}
        ),
        "words that are not in it": jwt.encode(
            claims(), KEY, algorithm="RS256", headers={"kid": "one", "b64": False}
        ),
        "a token in a token": jwt.api_jws.encode(
            signed().encode(), OTHER, algorithm="RS256", headers={"kid": "one", "cty": "JWT"}
        ),
        "a token of the issuer's in its token": jwt.api_jws.encode(
            signed().encode(), KEY, algorithm="RS256", headers={"kid": "one", "cty": "JWT"}
        ),
        "an id that is a path": signed(key=OTHER, key_id="../../../../dev/null"),
        "an id that is a query": signed(key=OTHER, key_id="' OR 1=1 --"),
        "no id": signed(key_id=None),
        "another algorithm than the key's": signed(algorithm="PS256"),
        "other words": f"{head}.{_part(claims(sub='root'))}.{signature}",
        "no signature": f"{head}.{body}.",
        "two parts": f"{head}.{body}",
        "four parts": f"{head}.{body}.{signature}.x",
        "no JSON": f"{_part([])}.{body}.{signature}",
        "more than anybody says": "A" * 7_000,
        "an id of some length": signed(key=OTHER, key_id="k" * 4_000),
        "an id that is no text": f"{_part({'alg': 'RS256', 'kid': 1})}.{body}.{signature}",
    }


@pytest.mark.parametrize("name", forged())
async def test_a_token_that_somebody_else_has_made_is_refused(
    store_url: str, name: str
) -> None:
    async with trusting(store_url) as scene:
        assert await scene.status(signed()) == 200
        assert await scene.status(forged()[name]) == 401


@pytest.mark.parametrize("header", ["jku", "x5u"])
async def test_an_address_in_a_token_is_not_asked(store_url: str, header: str) -> None:
    async with trusting(store_url) as scene, issuing() as other:
        other.keys = [public_jwk(OTHER, "one")]
        headers = {"kid": "one", header: other.url}
        token = jwt.encode(claims(), OTHER, algorithm="RS256", headers=headers)
        assert await scene.status(token) == 401
        assert other.asked == 0


async def test_secrets_in_the_issuers_set_sign_nothing(store_url: str) -> None:
    async with trusting(store_url) as scene:
        shared = base64.urlsafe_b64encode(b"s" * 32).rstrip(b"=").decode()
        secret: dict[str, Any] = {"kty": "oct", "k": shared, "kid": "shared", "alg": "HS256"}
        scene.issuer.keys = [secret, public_jwk(KEY, "one")]
        token = signed(key=b"s" * 32, algorithm="HS256", key_id="shared")
        assert await scene.status(token) == 401
        assert await scene.status(signed()) == 200


async def test_an_unknown_key_id_is_asked_for_once_in_a_while(store_url: str) -> None:
    async with trusting(store_url) as scene:
        for number in range(20):
            assert await scene.status(signed(key=OTHER, key_id=f"k{number}")) == 401
        assert scene.issuer.asked == 1


@pytest.mark.parametrize("algorithm", ["RS256", "RS512", "PS256"])
async def test_a_key_that_names_no_algorithm_is_good_for_those_accepted(
    store_url: str, algorithm: str
) -> None:
    async with trusting(store_url, jwt_algorithms=f"{algorithm},ES256") as scene:
        del scene.issuer.keys[0]["alg"]
        assert await scene.status(signed(algorithm=algorithm)) == 200
        assert await scene.status(signed(algorithm="RS384")) == 401
        assert await scene.status(signed(key=CURVE, algorithm="ES256")) == 401
        assert await scene.status(signed(key=OTHER, algorithm=algorithm)) == 401
        assert await scene.status(forged()["the public key as a secret"]) == 401


@pytest.mark.parametrize(
    "shown",
    [
        *(b"[]", b"null", b'{"keys":{}}', b'{"keys":[]}', b'{"keys":[1,"x",null,[]]}'),
        *(b'{"keys":[{"kty":"RSA","alg":["RS256"]}]}', b'{"keys":[{"kty":"oct","k":"YQ"}]}'),
    ],
)
async def test_what_is_no_set_of_keys_is_no_fault_of_a_token(
    store_url: str, tmp_path: Path, shown: bytes
) -> None:
    keys = tmp_path / "keys.json"
    keys.write_bytes(shown)
    async with trusting(store_url, jwt_keys=str(keys)) as scene:
        assert await scene.status(signed()) == 401


@pytest.mark.parametrize("key_id", ["one", None])
async def test_a_key_in_anothers_place_is_found(
    store_url: str, monkeypatch: pytest.MonkeyPatch, key_id: str | None
) -> None:
    monkeypatch.setattr("gateway.tokens._AGAIN_S", 0)
    async with trusting(store_url) as scene:
        for key in (KEY, OTHER):
            shown = public_jwk(key, key_id or "")
            scene.issuer.keys = [{name: said for name, said in shown.items() if said}]
            assert await scene.status(signed(key=key, key_id=key_id)) == 200
        assert await scene.status(signed(key_id=key_id)) == 401


async def test_a_key_that_its_issuer_withdraws_is_good_for_a_while_at_most(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.tokens._AGAIN_S", 0)
    async with trusting(store_url) as scene:
        assert await scene.status(signed()) == 200
        scene.issuer.keys = [public_jwk(CURVE, "curve")]
        assert await scene.status(signed()) == 200
        monkeypatch.setattr("gateway.tokens.KEPT_S", 0)
        assert await scene.status(signed()) == 401
        assert await scene.status(signed(key=CURVE, algorithm="ES256", key_id="curve")) == 200


async def test_keys_are_not_fetched_from_where_their_address_sends_us(store_url: str) -> None:
    async with issuing() as issuer:
        moved = issuer.url.replace("/keys", "/elsewhere")
        async with trusting(store_url, jwt_keys=moved) as scene:
            assert await scene.status(signed()) == 401
        assert issuer.asked == 0


@pytest.mark.parametrize(("padding", "status"), [(500_000, 200), (2_000_000, 401)])
async def test_keys_may_come_in_pieces_but_not_without_end(
    store_url: str, padding: int, status: int
) -> None:
    async with trusting(store_url) as scene:
        scene.issuer.padding = padding
        assert await scene.status(signed()) == status


async def test_a_shared_secret_among_the_keys_is_passed_over(store_url: str) -> None:
    async with trusting(store_url) as scene:
        scene.issuer.keys.append({"kty": "oct", "kid": "one", "k": "c2VjcmV0"})
        assert await scene.status(signed()) == 200


async def test_a_stream_ends_with_its_token(store_url: str) -> None:
    async with trusting(store_url, stream_check_s=0.2) as scene:
        context_id = await scene.of(signed()).create()
        soon = scene.of(signed(claims(exp=int(time.time()) + 2)))  # noqa: TID251 - see NOW_S
        async with soon.stream(context_id) as stream:
            await stream.take("snapshot")
            with pytest.raises(aiohttp.ClientPayloadError):
                await stream.next()


async def test_keys_still_come_in_beside_tokens(store_url: str) -> None:
    async with trusting(store_url) as scene:
        assert await scene.status("ctxd_aaaaaaaaaaaaaaaa_" + "A" * 43) == 401
