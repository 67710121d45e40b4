"""The rules a linter cannot say. Each failure message says what to do instead.

Sources are read, not imported, so a broken room still gets its answer here; only the tests
of the settings import them.
"""

import ast
import io
import re
import subprocess
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = (
    *("fsm", "storage", "workers", "gateway", "dashboard", "verify"),
    *("contextd_client", "runtime"),
)
PURE = {
    "collections",
    "dataclasses",
    "enum",
    "fsm",
    "functools",
    "hashlib",
    "itertools",
    "json",
    "math",
    "pydantic",
    "pydantic_core",
    "re",
    "typing",
    "typing_extensions",
}
RQ_FILES = {"storage/enqueue.py", "workers/dequeue.py"}
MODULES = {"pyjwt": "jwt"}
"""Where a distribution's module has another name."""
UNIMPORTED = {
    "tzdata": "zoneinfo reads it where the system has no time zones",
}
REGISTRY = re.compile(
    r"(?:pypi|npmjs)\.(?:org|com)|pythonhosted\.|https?://[^\s\"']*"
    r"(?:/simple\b|/npm/|registry\.|artifact|/debian\b)"
)
MACHINE_PATH = re.compile(r"(?<![\w.}~-])/(?:work|farm|root|home|Users|tmp/[a-z])/")
IGNORE = re.compile(
    r"#\s*(?:noqa|type:\s*ignore|pyright:\s*ignore)"
    r"(?:\[[^\]]*\]|:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*)?(?P<rest>.*)"
)


def sources(*rooms: str) -> Iterator[tuple[str, ast.Module]]:
    for room in rooms:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def imported_modules(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def project_files() -> list[Path]:
    """What git tracks or would track; in a copy without git, all but hidden folders."""
    listing = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard"],
        capture_output=True,
        check=False,
    )
    if listing.returncode == 0:
        paths = [ROOT / name for name in listing.stdout.decode().split("\0") if name]
    else:
        paths = [path for path in ROOT.rglob("*") if not is_made(path.relative_to(ROOT))]
    return [path for path in paths if path.is_file()]


def is_made(path: Path) -> bool:
    """Whether a tool made it, for copies that carry no .gitignore's verdict."""
    made = {"node_modules", "__pycache__", "contextd-data"}
    return any(part in made or part.startswith(".") for part in path.parts)


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    content = path.read_bytes()
    if b"\0" not in content[:8_192]:
        yield from enumerate(content.decode(errors="replace").splitlines(), start=1)


def test_fsm_imports_only_pure_modules() -> None:
    impure = [
        f"{path} imports {module}"
        for path, tree in sources("fsm")
        for module in imported_modules(tree)
        if module.split(".")[0] not in PURE
    ]
    assert not impure, (
        f"{impure}: fsm decides and does nothing else. Take ids, times and chances from the "
        "event, and ask for I/O with an effect."
    )


def test_rq_is_imported_by_one_file_of_storage_and_one_of_workers() -> None:
    importers = {
        path
        for path, tree in sources(*ROOMS)
        if any(module.split(".")[0] == "rq" for module in imported_modules(tree))
    }
    assert importers == RQ_FILES, (
        f"rq is imported by {sorted(importers)}, not by exactly {sorted(RQ_FILES)}: enqueue "
        "through storage, dequeue through workers, so that rq stays replaceable."
    )


def test_rooms_import_other_rooms_from_the_room_itself() -> None:
    # runtime is the composition root: it picks modules, so that `--help` loads no room.
    # verify takes rooms apart, to put faults between their parts.
    deep = [
        f"{path} imports {module}"
        for path, tree in sources(
            *(room for room in ROOMS if room not in {"runtime", "verify"})
        )
        for module in imported_modules(tree)
        if "." in module
        and module.split(".")[0] in ROOMS
        and module.split(".")[0] != path.split("/")[0]
    ]
    assert not deep, (
        f"{deep}: re-export the name in the room's __init__.py and import it there."
    )


@pytest.mark.parametrize(
    "init",
    [
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("__init__.py*"))
        if path.suffix in {".py", ".pyi"}
    ],
)
def test_a_package_init_only_re_exports(init: str) -> None:
    exported: list[str] = []
    imported: list[str] = []
    room = init.split("/")[0]
    for node in ast.parse((ROOT / init).read_text()).body:
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                pass
            case ast.ImportFrom(module="lazy_loader"):
                assert (ROOT / init).with_suffix(".pyi").exists(), f"{init}: list its names"
            case ast.Assign(value=ast.Call(func=ast.Name(id="attach_stub"))):
                pass
            case ast.ImportFrom(module=str(module), names=names, level=level) if (
                level == 1 or module.split(".")[0] == room
            ):
                imported += [alias.asname or alias.name for alias in names]
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                exported = ast.literal_eval(value)
            case _:
                pytest.fail(
                    f"{init}:{node.lineno} does more than re-export its own room: move the "
                    "code into a module named after what it holds."
                )
    assert sorted(exported) == sorted(imported), (
        f"{init}: __all__ and the imports differ: "
        f"{sorted(set(exported) ^ set(imported))}. List what other rooms may use."
    )


def test_no_file_names_a_package_registry_or_a_path_of_a_machine() -> None:
    named = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in project_files()
        if path.name != "LICENSE"
        for number, line in text_lines(path)
        if REGISTRY.search(line) or MACHINE_PATH.search(line)
    ]
    assert not named, (
        f"{named[:20]}: leave addresses of registries to each machine's own configuration "
        "(locks are made by `make lock`), and write paths relative to the project."
    )


def test_every_ignore_has_its_reason_beside_it() -> None:
    bare: list[str] = []
    for path in (path for path in project_files() if path.suffix == ".py"):
        text = path.read_text()
        lines = ["", *text.splitlines()]
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT and (ignore := IGNORE.search(token.string)):
                row = token.start[0]
                near = [ignore["rest"], *comment_lines(lines[row - 1 : row + 2 : 2])]
                if not any(re.search(r"[a-z]{3}\w* \w+", text) for text in near):
                    bare.append(f"{path.relative_to(ROOT)}:{token.start[0]}")
    assert not bare, f"{bare}: write why beside it, as in `# noqa: X123 - the reason`."


def comment_lines(lines: list[str]) -> list[str]:
    return [line for line in lines if line.strip().startswith("#")]


def declared_dependencies(*, extras: bool) -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements: list[str] = list(project["dependencies"])
    if extras:
        for extra in project["optional-dependencies"].values():
            requirements += extra
    return sorted({re.split(r"[^\w.-]", requirement)[0] for requirement in requirements})


def test_every_dependency_is_named_in_the_architecture_with_its_reason() -> None:
    architecture = (ROOT / "ARCHITECTURE.md").read_text()
    unnamed = [
        name
        for name in declared_dependencies(extras=True)
        if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", architecture)
    ]
    assert not unnamed, (
        f"{unnamed}: say in ARCHITECTURE.md why each is not 50 lines of ours, or drop it."
    )


def test_every_runtime_dependency_is_used() -> None:
    used = {
        module.split(".")[0]
        for _, tree in sources(*ROOMS)
        for module in [*imported_modules(tree), *string_constants(tree)]
    }
    unused = [
        name
        for name in declared_dependencies(extras=False)
        if name not in UNIMPORTED and MODULES.get(name, name.replace("-", "_")) not in used
    ]
    assert not unused, f"{unused}: no room imports them; drop them from pyproject.toml."


def string_constants(tree: ast.Module) -> Iterator[str]:
    """Modules may be named in strings (importlib, entry points)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def settings_reads() -> set[str]:
    """Attributes read from what is called config or settings, or from such a class's self."""
    reads: set[str] = set()
    for _, tree in sources(*ROOMS):
        for node in ast.walk(tree):
            match node:
                case ast.Attribute(value=ast.Name(id=owner), attr=name, ctx=ast.Load()) | (
                    ast.Attribute(value=ast.Attribute(attr=owner), attr=name, ctx=ast.Load())
                ) if owner.endswith(("config", "settings")):
                    reads.add(name)
                case ast.ClassDef(name=owner) if owner.endswith(("Config", "Settings")):
                    reads.update(self_reads(node))
                case _:
                    pass
    return reads


def self_reads(owner: ast.ClassDef) -> Iterator[str]:
    for node in ast.walk(owner):
        match node:
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Load()):
                yield name
            case _:
                pass


def test_every_settings_field_is_read_somewhere() -> None:
    from runtime.settings import Settings

    dead = sorted(Settings.model_fields.keys() - settings_reads())
    assert not dead, (
        f"{dead}: nobody reads config.<field> or settings.<field>: delete the setting, or use "
        "it under such a name."
    )


def test_no_two_rooms_have_a_setting_of_the_same_name() -> None:
    from gateway import GatewayConfig
    from runtime.config import RuntimeConfig
    from storage import StorageConfig
    from workers import WorkerConfig

    configs = (GatewayConfig, RuntimeConfig, StorageConfig, WorkerConfig)
    names = [name for config in configs for name in config.model_fields]
    twice = sorted({name for name in names if names.count(name) > 1})
    assert not twice, (
        f"{twice}: settings are one flat namespace, so one room's value rules both."
    )


def test_every_settings_field_is_documented_once() -> None:
    from runtime.settings import PREFIX, Settings

    page = (ROOT / "docs/settings.md").read_text()
    documented = re.findall(rf"^\|.*?`{PREFIX}([A-Z0-9_]+)` \|", page, flags=re.MULTILINE)
    expected = [name.upper() for name in Settings.model_fields]
    wrong = {name for name in {*documented, *expected} if documented.count(name) != 1}
    wrong |= set(documented) - set(expected)
    assert not wrong, (
        f"docs/settings.md lacks, doubles or invents {sorted(wrong)}: generate it again."
    )


def test_every_variable_that_a_page_names_is_a_setting() -> None:
    from runtime.settings import NOT_SETTINGS, PREFIX, Settings

    known = {name.upper() for name in Settings.model_fields} | NOT_SETTINGS
    pages = [
        ROOT / "compose.yaml",
        ROOT / "Dockerfile",
        ROOT / "README.md",
        *(ROOT / "docs").glob("*.md"),
        *(path for path in (ROOT / "docs/deploy").rglob("*") if path.is_file()),
    ]
    unknown = {
        f"{path.relative_to(ROOT)}:{number} {PREFIX}{name}"
        for path in pages
        for number, line in text_lines(path)
        for name in re.findall(rf"\b{PREFIX}([A-Z0-9_]*[A-Z0-9])", line)
        if name not in known
    }
    assert not unknown, f"{sorted(unknown)}: no such setting; who sets it gets nothing."


def test_every_room_is_in_the_package_and_in_the_image() -> None:
    built = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert set(built["targets"]["wheel"]["packages"]) == set(ROOMS)
    kept = (ROOT / ".dockerignore").read_text().split()
    assert {f"!{room}" for room in ROOMS} <= set(kept), "the image is built from what is kept"


def test_every_test_that_a_page_names_is_there() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    there = set(re.findall(r"\bdef (test_\w+)\(", sources))
    missing = {
        f"{page.relative_to(ROOT)}:{number} {name}"
        for page in (ROOT / "docs").glob("*.md")
        for number, line in text_lines(page)
        for name in re.findall(r"`(test_\w+)`", line)
        if name not in there
    } | {
        f"{page.relative_to(ROOT)}:{number} {path}"
        for page in (ROOT / "docs").glob("*.md")
        for number, line in text_lines(page)
        for path in re.findall(r"\b(tests/[\w/]+\.py)\b", line)
        if not (ROOT / path).is_file()
    }
    assert not missing, f"{sorted(missing)}: say what shows it now, or do not promise it."
