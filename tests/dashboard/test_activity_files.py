"""Records as JSON lines: whole, in files of a bounded size and number, for each gateway."""

import io
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from pydantic import ValidationError
from typer.testing import CliRunner
from typing_extensions import override

from dashboard import ActivityConfig, BadActivityFolder, check_activity_folder
from dashboard.activity_files import ActivityFiles
from runtime.cli import app

FILE_BYTES = 4_096


def lines(begin: int, end: int) -> list[bytes]:
    """Records of some hundred bytes, numbered."""
    return [orjson.dumps({"number": n, "padding": "x" * 100}) for n in range(begin, end)]


def numbers(path: Path) -> list[int]:
    """What `jq .number` prints; fails where it would."""
    text = path.read_text()
    assert text == "" or text.endswith("\n")
    return [orjson.loads(line)["number"] for line in text.splitlines()]


def there(folder: Path) -> list[str]:
    """Names of the files in a folder, locks aside."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def open_files(folder: Path, *, files_max: int = 3) -> ActivityFiles:
    config = ActivityConfig(
        activity_folder=folder,
        activity_file_bytes_max=FILE_BYTES,
        activity_files_max=files_max,
    )
    return ActivityFiles(config, folder)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[ActivityFiles]:
    """Three files of 4 KB at most."""
    opened = open_files(tmp_path)
    yield opened
    opened.close()


async def test_files_are_set_aside_before_they_grow_too_large_and_the_oldest_go(
    files: ActivityFiles, tmp_path: Path
) -> None:
    for begin in range(0, 200, 20):
        assert await files.append(lines(begin, begin + 20)) == 20
    newest = tmp_path / "activity-0.jsonl"
    kept = [newest, *(newest.with_name(f"{newest.name}.{n}") for n in (1, 2))]
    assert there(tmp_path) == [path.name for path in kept]
    assert all(path.stat().st_size <= FILE_BYTES for path in kept)
    found = [number for path in reversed(kept) for number in numbers(path)]
    assert found == list(range(found[0], 200)), "without a gap, the newest at the end"
    assert found[0] > 0


async def test_a_record_that_is_larger_than_a_file_may_be_is_a_file_of_its_own(
    files: ActivityFiles, tmp_path: Path
) -> None:
    large = orjson.dumps({"number": 0, "padding": "x" * FILE_BYTES})
    assert await files.append([large]) == 1
    assert there(tmp_path) == ["activity-0.jsonl"]
    assert await files.append(lines(1, 2)) == 1
    assert numbers(tmp_path / "activity-0.jsonl") == [1]
    assert numbers(tmp_path / "activity-0.jsonl.1") == [0]


async def test_gateways_that_share_a_folder_write_into_files_of_their_own(
    files: ActivityFiles, tmp_path: Path
) -> None:
    second = open_files(tmp_path)
    assert await files.append(lines(0, 3)) == 3
    assert await second.append(lines(3, 5)) == 2
    files.close()
    third = open_files(tmp_path)  # the heir of the first
    assert await third.append(lines(5, 6)) == 1
    second.close()
    third.close()
    assert numbers(tmp_path / "activity-0.jsonl") == [0, 1, 2, 5]
    assert numbers(tmp_path / "activity-1.jsonl") == [3, 4]


async def test_a_line_that_a_killed_gateway_has_begun_is_taken_away(
    files: ActivityFiles, tmp_path: Path
) -> None:
    path = tmp_path / "activity-0.jsonl"
    path.write_bytes(b"\n".join(lines(0, 2)) + b'\n{"number": 2, "pad')
    assert await files.append(lines(3, 4)) == 1
    assert numbers(path) == [0, 1, 3]


async def test_a_file_that_holds_nothing_but_the_beginning_of_a_line_begins_anew(
    files: ActivityFiles, tmp_path: Path
) -> None:
    path = tmp_path / "activity-0.jsonl"
    path.write_bytes(b'{"number": 0, "pad')
    assert await files.append(lines(1, 2)) == 1
    assert numbers(path) == [1]


@pytest.mark.parametrize("fault", ["half", "error"])
async def test_of_a_line_that_a_full_disk_takes_half_nothing_stays(
    files: ActivityFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    room = 2

    class Cramped(io.FileIO):
        """A file on a disk with room for so many lines, and a half."""

        @override
        def write(self, b: bytes, /) -> int:  # type: ignore[override]  # we write bytes alone
            nonlocal room
            if room > 0:
                room -= 1
                return super().write(b)
            written = super().write(b[:40])
            if fault == "error":
                raise OSError("no space left on device")
            return written

    plain_open = Path.open

    def open_cramped(path: Path, mode: str, buffering: int = -1) -> object:
        return plain_open(path, mode) if buffering else Cramped(path, mode)

    monkeypatch.setattr(Path, "open", open_cramped)
    assert await files.append(lines(0, 5)) == 2
    assert await files.append(lines(5, 6)) == 0
    room = 10
    assert await files.append(lines(6, 8)) == 2
    monkeypatch.undo()
    assert numbers(tmp_path / "activity-0.jsonl") == [0, 1, 6, 7]


async def test_files_that_are_moved_away_are_begun_again(
    files: ActivityFiles, tmp_path: Path
) -> None:
    path = tmp_path / "activity-0.jsonl"
    await files.append(lines(0, 1))
    path.rename(tmp_path / "elsewhere")
    await files.append(lines(1, 2))
    assert numbers(path) == [1]


def test_a_folder_is_made_where_it_is_missing(tmp_path: Path) -> None:
    check_activity_folder(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadActivityFolder, match="Not a directory"):
        check_activity_folder(tmp_path / "file" / "folder")


@pytest.mark.parametrize("command", ["up", "gateway"])
def test_start_up_refuses_a_folder_that_no_file_can_be_made_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CONTEXTD_ACTIVITY_FOLDER", str(tmp_path / "file"))
    refused = CliRunner().invoke(app, [command, "--data", str(tmp_path / "data")])
    assert refused.exit_code == 2
    assert "activity_folder: no file can be made in" in refused.output
    assert there(tmp_path) == ["file"], "nothing was begun"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("activity_files_max", 1),
        ("activity_file_bytes_max", 100),
        ("activity_recent_max", 0),
        ("activity_waiting_max", 0),
        ("activity_write_s", 0),
    ],
)
def test_impossible_sizes_are_refused(name: str, value: int) -> None:
    with pytest.raises(ValidationError, match=name):
        ActivityConfig.model_validate({name: value})
