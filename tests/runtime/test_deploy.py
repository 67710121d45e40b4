"""What is shipped for running contextd, against the commands and settings that there are."""

import http.server
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
import yaml
from typer.testing import CliRunner
from typing_extensions import override

from runtime.cli import app
from runtime.settings import Settings
from tests.support.service_processes import ROOT, run_words
from tests.support.store_server import StoreServer

Document: TypeAlias = Any
"""A parsed YAML document: it is asserted on, key by key, not modelled."""

DEPLOY: Final = ROOT / "docs" / "deploy"
DOCKERFILE: Final = (ROOT / "Dockerfile").read_text()
COMPOSE: Final[Document] = yaml.safe_load((ROOT / "compose.yaml").read_text())
MANIFESTS: Final[Sequence[Document]] = [
    document
    for file in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    for document in yaml.safe_load_all(file.read_text())
]
WORKLOADS: Final = [one for one in MANIFESTS if one["kind"] == "Deployment"]
UNITS: Final = sorted(DEPLOY.glob("*.service"))
STOP_S_MIN: Final = Settings().drain_s_max + Settings().store_stop_s_max
"""From SIGTERM to the end of a `contextd up` that takes as long as it may."""


def instruction(name: str) -> str:
    """The last instruction of that name in the Dockerfile, its lines joined."""
    text = re.sub(r"\\\n\s*", " ", DOCKERFILE)
    found: list[str] = re.findall(rf"^{name} (.*)$", text, flags=re.MULTILINE)
    return found[-1]


def image_environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in shlex.split(instruction("ENV")))


def takes(words: Sequence[str]) -> bool:
    """Whether the command line knows these words, every flag of them."""
    return CliRunner().invoke(app, [*words, "--help"]).exit_code == 0


def settings_of(environment: Mapping[str, str | None]) -> Settings:
    """The settings that variables give; a wrong value is refused."""
    given = {
        name.removeprefix("CONTEXTD_").lower(): value
        for name, value in environment.items()
        if name.startswith("CONTEXTD_")
    }
    assert given.keys() <= Settings.model_fields.keys()
    return Settings.model_validate({name: value for name, value in given.items() if value})


def with_defaults(value: str) -> str:
    """What compose makes of `${NAME:-default}` where nothing is set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


# The image


def test_the_image_starts_a_command_that_there_is() -> None:
    assert json.loads(instruction("ENTRYPOINT")) == ["contextd"]
    assert takes(json.loads(instruction("CMD")))
    assert not takes(["gateways"])
    assert not takes(["gateway", "--prot", "1"])


def test_the_images_settings_are_settings_and_its_folders_are_made_for_its_user() -> None:
    environment = image_environment()
    assert settings_of(environment).host == "0.0.0.0"
    assert instruction("USER") == "contextd"
    assert instruction("EXPOSE") == environment["CONTEXTD_PORT"]
    assert instruction("VOLUME") == instruction("WORKDIR") == environment["CONTEXTD_DATA"]
    assert "install -d -o contextd" in instruction("RUN")


def test_images_are_pinned_by_version() -> None:
    named = re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE)
    named += [one["image"] for one in COMPOSE["services"].values()]
    for image in named:
        assert re.search(r":\d+\.\d+", image), image


class _Health(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/healthz" else 404)
        self.end_headers()

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def healthy() -> Iterator[int]:
    """The port of something that answers health checks."""
    with http.server.HTTPServer(("127.0.0.1", 0), _Health) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_images_health_check_asks_the_gateway(
    healthy: int, status: int, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(_Health, "status", status)
    asked = instruction("HEALTHCHECK").partition(" CMD ")[2]
    words: list[str] = json.loads(asked)
    done = run_words(
        [sys.executable, *words[1:]],
        {**os.environ, "CONTEXTD_PORT": str(healthy)},
        folder=tmp_path,
    )
    assert done.returncode == code, done.stderr


def test_what_the_image_installs_is_whole(tmp_path: Path) -> None:
    """The Dockerfile's own build, from the files that the engine is given."""
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"]
    source = tmp_path / "src"
    source.mkdir()
    for name in kept:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name)
        else:
            shutil.copy(ROOT / name, source / name)
    build = DOCKERFILE.partition("pip wheel ")[2].partition(" --wheel-dir")[0]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", *build.split(), "-w", tmp_path, "."],
        cwd=source,
        check=True,
        timeout=60,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    for part in ("storage/lua", "dashboard/static", "dashboard/static/assets"):
        ours = {path.name for path in (ROOT / part).iterdir()}
        assert {path.name for path in (tmp_path / "site" / part).iterdir()} == ours
    done = run_words(
        [sys.executable, "-P", "-m", "runtime.cli", "settings"],
        {"PYTHONPATH": str(tmp_path / "site"), "PATH": os.environ["PATH"]},
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr


# compose


def test_every_service_of_ours_is_a_command_with_settings() -> None:
    for name in ("gateway", "worker"):
        service = COMPOSE["services"][name]
        assert takes(service["command"])
        values = {k: with_defaults(v) if v else v for k, v in service["environment"].items()}
        assert settings_of(values).redis_url is not None
        assert service["read_only"]
        assert service["restart"] == "unless-stopped"
        assert service["depends_on"] == {"store": {"condition": "service_healthy"}}


def test_the_engine_kills_nothing_that_still_drains() -> None:
    for name in ("gateway", "worker"):
        grace = COMPOSE["services"][name]["stop_grace_period"]
        assert int(grace.removesuffix("s")) > Settings().drain_s_max


def test_the_store_keeps_what_strict_promises() -> None:
    program, *words = map(with_defaults, COMPOSE["services"]["store"]["command"])
    assert program == "valkey-server"
    options = dict(zip(words[::2], words[1::2], strict=True))
    with StoreServer(**{k.removeprefix("--"): v for k, v in options.items()}) as server:
        client: Any = server.client()
        with client:
            for name, value in options.items():
                assert client.config_get(name.removeprefix("--")) == {
                    name.removeprefix("--"): value
                }
    assert options["--appendfsync"] == "always"
    assert options["--appendonly"] == "yes"


def test_the_proxy_reads_files_that_are_there() -> None:
    for volume in COMPOSE["services"]["proxy"]["volumes"]:
        assert (ROOT / volume.partition(":")[0]).is_file()


# Kubernetes


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda one: one["metadata"]["name"])
def test_a_workload_is_a_command_with_settings_and_drains_in_peace(workload: Document) -> None:
    pod = workload["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert takes(container["args"])
    settings_of({one["name"]: one.get("value") for one in container["env"]})
    stop = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
    before_s = int(stop[1]) if stop else 0
    role: str = container["args"][0]
    drain_s = Settings().gateway_drain_s if role == "gateway" else Settings().drain_s
    assert pod["terminationGracePeriodSeconds"] > before_s + drain_s + Settings().farewell_s
    assert pod["securityContext"]["runAsUser"] == 10001
    assert "--uid 10001" in DOCKERFILE
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert (
        workload["spec"]["selector"]["matchLabels"]
        == workload["spec"]["template"]["metadata"]["labels"]
    )


def test_secrets_are_named_and_never_written() -> None:
    for workload in WORKLOADS:
        (container,) = workload["spec"]["template"]["spec"]["containers"]
        for one in container["env"]:
            annotation = str(
                Settings.model_fields[one["name"].removeprefix("CONTEXTD_").lower()].annotation
            )
            assert ("valueFrom" in one) == ("SecretStr" in annotation), one


def test_what_selects_pods_selects_some_and_what_scales_names_a_workload() -> None:
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in WORKLOADS]
    names = {one["metadata"]["name"] for one in WORKLOADS}
    for one in MANIFESTS:
        if one["kind"] == "Service":
            assert one["spec"]["selector"] in labels
        elif one["kind"] == "PodDisruptionBudget":
            assert one["spec"]["selector"]["matchLabels"] in labels
        elif one["kind"] in {"HorizontalPodAutoscaler", "ScaledObject"}:
            assert one["spec"]["scaleTargetRef"]["name"] in names
    (listed,) = [one["resources"] for one in MANIFESTS if one["kind"] == "Kustomization"]
    there = {path.name for path in (DEPLOY / "kubernetes").iterdir()} - {"kustomization.yaml"}
    assert set(listed) == there


# systemd


def entries(unit: Path) -> dict[str, list[str]]:
    """What a unit says, by name."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_starts_a_command_that_there_is_and_lets_it_drain(unit: Path) -> None:
    said = entries(unit)
    assert takes(said["ExecStart"][0].split()[1:])
    settings_of(dict(pair.split("=", 1) for pair in said.get("Environment", [])))
    assert int(said["TimeoutStopSec"][0]) > STOP_S_MIN
    assert said["Type"] == ["notify"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_what_a_unit_says_to_enter_is_found_and_what_it_says_is_read(unit: Path) -> None:
    said = unit.read_text()
    for command in re.findall(r"([^\s=]*contextd) (?:keys|up|supervise)\b", said):
        assert command == entries(unit)["ExecStart"][0].split()[0]
    # Nobody reads a file of settings that is not in the current folder, unless told to.
    assert "contextd.toml" not in said or "CONTEXTD_CONFIG=/etc/contextd/contextd.toml" in said


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_takes_a_unit_and_finds_it_closed(unit: Path, tmp_path: Path) -> None:
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/contextd/bin/contextd", "/bin/true"))
    for words in (["verify"], ["security", "--offline=yes", "--threshold=25"]):
        done = run_words(["systemd-analyze", *words, str(copy)], os.environ, folder=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert words != ["verify"] or done.stderr == ""
