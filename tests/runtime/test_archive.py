"""The file of a backup: whole, or none."""

import io
import resource
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from runtime.archive import About, ArchiveWriter, BadBackup, Origin, extract

ORIGIN = Origin(
    made_at="2026-11-22T04:00:00Z", contextd="0.1.0", server="Valkey 9.1.2", epoch="7"
)
DUMP = b"REDIS0011" + bytes(range(256)) * 20


def written(folder: Path) -> Path:
    file = folder / "backup.tar"
    with ArchiveWriter(file) as archive:
        for at in range(0, len(DUMP), 1_000):
            archive.add(DUMP[at : at + 1_000])
        archive.finish(ORIGIN)
    return file


def test_what_was_written_is_read(tmp_path: Path) -> None:
    file = written(tmp_path)
    about = extract(file, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == DUMP
    assert about.origin == ORIGIN
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.tar", "out"]


def test_tar_reads_it_without_us(tmp_path: Path) -> None:
    file = written(tmp_path)
    subprocess.run(["tar", "xf", file.name], cwd=tmp_path, check=True, timeout=10)
    assert (tmp_path / "store.rdb").read_bytes() == DUMP
    about = About.model_validate_json((tmp_path / "backup.json").read_bytes())
    assert about.rdb_bytes == len(DUMP)
    assert file.stat().st_size % tarfile.BLOCKSIZE == 0


def test_another_file_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "backup.tar"
    file.write_bytes(b"the only one")
    with pytest.raises(FileExistsError):
        written(tmp_path)
    assert file.read_bytes() == b"the only one"


def test_a_file_that_comes_meanwhile_is_not_overwritten_either(tmp_path: Path) -> None:
    file = tmp_path / "backup.tar"
    with ArchiveWriter(file) as archive:
        file.write_bytes(b"the only one")
        with pytest.raises(FileExistsError):
            archive.finish(ORIGIN)
    assert file.read_bytes() == b"the only one"


def test_two_who_write_one_file_do_not_mix(tmp_path: Path) -> None:
    file = tmp_path / "backup.tar"
    with ArchiveWriter(file) as archive:
        archive.add(DUMP)
        with pytest.raises(FileExistsError):
            written(tmp_path)
        archive.finish(ORIGIN)
    assert extract(file, tmp_path / "out").rdb_bytes == len(DUMP)


def test_what_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / "backup.tar") as archive:
        archive.add(DUMP)
    assert list(tmp_path.iterdir()) == []


def write_too_much(file: Path) -> None:
    with ArchiveWriter(file) as archive:
        for _ in range(1_000):
            archive.add(b"x" * 1_000)


def test_a_disk_that_gets_full_keeps_no_part(tmp_path: Path) -> None:
    bytes_max = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, bytes_max[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            write_too_much(tmp_path / "backup.tar")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, bytes_max)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", [0, 100, 512, 3_000, 5_700, 6_200])
def test_a_file_that_was_cut_off_is_none(tmp_path: Path, kept: int) -> None:
    file = written(tmp_path)
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(BadBackup):
        extract(file, tmp_path / "out")


def test_any_changed_byte_of_the_dump_shows(tmp_path: Path) -> None:
    file = written(tmp_path)
    raw = bytearray(file.read_bytes())
    raw[tarfile.BLOCKSIZE + 2_000] ^= 1
    file.write_bytes(raw)
    with pytest.raises(BadBackup, match="another checksum"):
        extract(file, tmp_path / "out")


def test_another_tar_is_no_backup(tmp_path: Path) -> None:
    file = tmp_path / "other.tar"
    with tarfile.open(file, "w") as archive:
        archive.add(__file__, "store.py")
    with pytest.raises(BadBackup, match=r"no store\.rdb"):
        extract(file, tmp_path / "out")


def test_a_backup_of_a_later_format_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "later.tar"
    with tarfile.open(file, "w") as archive:
        for name, content in (("store.rdb", DUMP), ("backup.json", b'{"format": 2}')):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    with pytest.raises(BadBackup, match="this contextd knows"):
        extract(file, tmp_path / "out")
