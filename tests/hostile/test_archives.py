"""Archives that lie, bombs, and what is in them that is no plain file."""

import gzip
import io
import os
import random
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from models.errors import CuemillError, TooLargeError, UsageError
from models.sources import archives, spool
from models.sources.archives import Unpacked, unpack
from models.sources.spool import Limits

LIMITS = Limits(files=50, file_bytes=100_000, bytes=50_000_000, ratio=100)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    spool.create(tmp_path / "upload")
    return tmp_path / "upload"


def open_up(folder: Path, content: bytes, limits: Limits = LIMITS) -> Unpacked:
    archive = folder / "parts/archive"
    archive.write_bytes(content)
    try:
        return unpack(archive, folder, limits)
    finally:
        archive.unlink()
        # No link, device or half file, and nothing outside.
        assert os.listdir(folder / "parts") == []
        assert os.listdir(folder.parent) == ["upload"]
        assert all(path.is_dir() or path.is_file() for path in folder.rglob("*"))
        assert not any(path.is_symlink() for path in folder.rglob("*"))


def files_of(folder: Path) -> dict[str, bytes]:
    files = folder / "files"
    return {
        str(path.relative_to(files)): path.read_bytes()
        for path in files.rglob("*")
        if path.is_file()
    }


def in_zip(*files: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


def in_tar(*members: tuple[tarfile.TarInfo, bytes], mode: str = "w", form: int = 2) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=form) as archive:  # type: ignore[call-overload]
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info


def special(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = mode << 16
    return info


GOOD = {"a.jpg": b"one", "b/c.jpg": b"two" * 1000}


@pytest.mark.parametrize("kind", ["zip", "deflated", "tar", "tar.gz", "pax", "gnu"])
def test_plain_archives_are_unpacked(folder: Path, kind: str) -> None:
    members = [(member(name), content) for name, content in GOOD.items()]
    made: dict[str, Callable[[], bytes]] = {
        "zip": lambda: in_zip(*GOOD.items()),
        "deflated": lambda: in_zip(*GOOD.items(), method=zipfile.ZIP_DEFLATED),
        "tar": lambda: in_tar(*members, form=tarfile.USTAR_FORMAT),
        "tar.gz": lambda: in_tar(*members, mode="w:gz"),
        "pax": lambda: in_tar(*members, form=tarfile.PAX_FORMAT),
        "gnu": lambda: in_tar(*members, form=tarfile.GNU_FORMAT),
    }
    unpacked = open_up(folder, made[kind]())
    assert files_of(folder) == GOOD
    assert unpacked == Unpacked({name: len(content) for name, content in GOOD.items()})


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_and_names_in_any_encoding_are_kept(folder: Path, form: int) -> None:
    names = ["é" * 60 + "/" + "x" * 200 + ".jpg", "\udcff.jpg"]
    open_up(folder, in_tar(*[(member(name), b"x") for name in names], form=form))
    assert set(files_of(folder)) == set(names)


def test_names_in_a_zip_are_utf_8_or_code_page_437(folder: Path) -> None:
    content = in_zip(("é.jpg", b"x"))
    unsaid = content.replace(struct.pack("<H", 0x800), struct.pack("<H", 0))
    assert set(open_up(folder, unsaid).sizes) == {"é.jpg"}
    old = in_zip(("aa.jpg", b"x")).replace(b"aa.jpg", b"\x81\x82.jpg")
    assert set(open_up(folder, old).sizes) == {"üé.jpg"}


BAD_NAMES = [
    "../a.jpg",
    "a/../../../b.jpg",
    "/etc/passwd",
    "C:\\a.jpg",
    "\\\\server\\a.jpg",
    "..\\a.jpg",
    "x" * 300 + ".jpg",
    "d/" * 40 + "a.jpg",
    "./.",
]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_files_with_unsafe_names_are_left_out_by_name(folder: Path, kind: str) -> None:
    names = [*BAD_NAMES, "a\\b.jpg"]
    if kind == "zip":
        content = in_zip(*[(name, b"x") for name in names])
    else:
        content = in_tar(*[(member(name), b"x") for name in names], form=tarfile.PAX_FORMAT)
    unpacked = open_up(folder, content)
    assert set(unpacked.sizes) == {"a/b.jpg"}
    assert unpacked.skipped_files == len(unpacked.skipped) == len(BAD_NAMES)


def test_a_nul_in_a_name_does_not_shorten_it(folder: Path) -> None:
    content = in_zip(("a.jpg_x.jpg", b"x"), ("b.jpg", b"x")).replace(b"a.jpg_", b"a.jpg\0")
    assert set(open_up(folder, content).sizes) == {"b.jpg"}


def test_two_files_of_one_name_are_one(folder: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        content = in_zip(("a.jpg", b"one"), ("a.jpg", b"two"), ("./a.jpg", b"three"))
    unpacked = open_up(folder, content)
    assert files_of(folder) == {"a.jpg": b"one"}
    assert unpacked.skipped_files == 2


def test_what_is_no_plain_file_is_left_out_by_name(folder: Path) -> None:
    kinds = {
        "link": (tarfile.SYMTYPE, "/etc/passwd"),
        "hard": (tarfile.LNKTYPE, "good.jpg"),
        "char": (tarfile.CHRTYPE, ""),
        "block": (tarfile.BLKTYPE, ""),
        "pipe": (tarfile.FIFOTYPE, ""),
    }
    members = [(member(f"{name}.jpg", *kind), b"") for name, kind in kinds.items()]
    content = in_tar((member("good.jpg"), b"x"), *members, (member("inner.tar.GZ"), b"x"))
    unpacked = open_up(folder, content)
    assert files_of(folder) == {"good.jpg": b"x"}
    assert [file["path"] for file in unpacked.skipped] == [f"{k}.jpg" for k in kinds] + [
        "inner.tar.GZ"
    ]


def test_a_file_behind_a_link_does_not_leave_the_upload(folder: Path, tmp_path: Path) -> None:
    content = in_tar((member("a", tarfile.SYMTYPE, str(tmp_path)), b""), (member("a/b.jpg"), b"x"))
    open_up(folder, content)
    assert files_of(folder) == {"a/b.jpg": b"x"}


def test_links_and_encrypted_files_in_a_zip_are_left_out_by_name(folder: Path) -> None:
    content = in_zip(
        (special("link.jpg", 0o120777), b"/etc/passwd"),
        (special("pipe.jpg", 0o010644), b""),
        (special("good.jpg", 0o100644), b"x"),
        ("secret.jpg", b"x"),
    )
    at = content.rindex(b"PK\1\2")
    content = content[: at + 8] + b"\1" + content[at + 9 :]
    unpacked = open_up(folder, content)
    assert files_of(folder) == {"good.jpg": b"x"}
    assert [file["path"] for file in unpacked.skipped] == ["link.jpg", "pipe.jpg", "secret.jpg"]
    assert "encrypted" in unpacked.skipped[2]["reason"]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_are_left_out_because_their_memory_has_no_bound(
    folder: Path, method: int
) -> None:
    with pytest.raises(UsageError, match=r"no file that can be used.*a\.jpg.*deflate"):
        open_up(folder, in_zip(("a.jpg", b"x"), method=method))


def test_a_sparse_file_is_left_out(folder: Path) -> None:
    header = member("sparse.jpg", tarfile.GNUTYPE_SPARSE).tobuf(tarfile.GNU_FORMAT)
    sparse = bytearray(header)
    sparse[386:398] = sparse[398:410] = b"%011o\0" % 0
    sparse[483:495] = b"%011o\0" % 2**32  # Its size when it is unpacked.
    sparse[148:156] = b"%06o\0 " % (sum(sparse[:148]) + 256 + sum(sparse[156:512]))
    unpacked = open_up(folder, bytes(sparse) + in_tar((member("a.jpg"), b"x")))
    assert files_of(folder) == {"a.jpg": b"x"}
    assert "sparse" in unpacked.skipped[0]["reason"]


def test_a_large_file_is_left_out_and_the_others_are_not(folder: Path) -> None:
    large = b"x" * (LIMITS.file_bytes + 1)
    for content in (
        in_zip(("large.jpg", large), ("a.jpg", b"x")),
        in_tar((member("large.jpg"), large), (member("b.jpg"), b"x")),
    ):
        assert "large.jpg" in open_up(folder, content).skipped[0]["path"]
    assert files_of(folder) == {"a.jpg": b"x", "b.jpg": b"x"}


def test_a_zip_that_lies_about_a_size_is_cut_at_the_limit(folder: Path) -> None:
    size = LIMITS.file_bytes * 20
    content = in_zip(("a.jpg", bytes(size)), ("b.jpg", b"x"), method=zipfile.ZIP_DEFLATED)
    content = content.replace(struct.pack("<L", size), struct.pack("<L", 7))
    unpacked = open_up(folder, content)
    assert (set(unpacked.sizes), unpacked.skipped_files) == ({"b.jpg"}, 1)


def bomb(kind: str) -> bytes:
    zeros = bytes(60_000_000)
    if kind == "zip":
        files = [(f"{number}.jpg", bytes(100_000)) for number in range(40)]
        one = in_zip(*files, method=zipfile.ZIP_DEFLATED)
        assert len(one) < 40_000
        return one
    if kind == "overlap":
        return overlapping(40)
    if kind == "tar.gz":
        return gzip.compress(in_tar((member("a.jpg"), zeros)))
    return gzip.compress(zeros)


def overlapping(count: int) -> bytes:
    """A zip whose files share their bytes."""
    content = in_zip(("a.jpg", bytes(100_000)), method=zipfile.ZIP_DEFLATED)
    at = content.index(b"PK\1\2")
    end = content.index(b"PK\5\6")
    entry = content[at:end]
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(entry) * count, at, 0)
    return content[:at] + entry * count + tail


@pytest.mark.parametrize("kind", ["zip", "overlap", "tar.gz", "gz"])
def test_a_bomb_is_refused(folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FREE_BYTES", 100_000)
    limits = Limits(files=50, file_bytes=10**9, bytes=10**9, ratio=20)
    content = bomb(kind)
    with pytest.raises((TooLargeError, UsageError)) as caught:
        open_up(folder, content, limits)
    if kind not in ("gz", "overlap"):
        assert "20 times its size" in str(caught.value)
    assert sum(map(len, files_of(folder).values())) <= 20 * len(content) + 200_000


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_more_files_than_allowed_are_refused(folder: Path, kind: str) -> None:
    names = [f"{number}.jpg" for number in range(51)]
    content = (
        in_zip(*[(name, b"") for name in names])
        if kind == "zip"
        else in_tar(*[(member(name), b"") for name in names])
    )
    with pytest.raises(TooLargeError, match="50 files"):
        open_up(folder, content)


def peak_of(call: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def long_header(size: int, kind: bytes) -> bytes:
    info = member("header", kind)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_of_many_megabytes_is_not_read_into_memory(folder: Path, kind: bytes) -> None:
    size = 40_000_000
    content = gzip.compress(long_header(size, kind) + b"1" * size + bytes(1024))
    limits = Limits(files=50, file_bytes=10**9, bytes=10**9, ratio=1032)

    def refuse() -> None:
        with pytest.raises(UsageError, match="header"):
            open_up(folder, content, limits)

    assert peak_of(refuse) < 5_000_000


def test_a_header_that_is_slow_to_look_through_is_refused(folder: Path) -> None:
    digits = b"1" * (archives.HEADER_DIGITS + 1) + b" "
    header = long_header(3_072, tarfile.XHDTYPE) + (digits * 40)[:3_072]
    with pytest.raises(UsageError, match="digits"):
        open_up(folder, header + in_tar((member("a.jpg"), b"x")))


@pytest.mark.parametrize("record", [b"2 ", b"9 =", b"=", b"3 a=\n"])
def test_records_that_overlap_take_little_memory(folder: Path, record: bytes) -> None:
    size = archives.HEADER_BYTES - 2 * 512
    header = long_header(size, tarfile.XHDTYPE) + (record * size)[: size - 2] + b"=\n"
    content = header + in_tar((member("a.jpg"), b"x"))

    def look() -> None:
        with suppress(UsageError):
            open_up(folder, content)

    assert peak_of(look) < 20_000_000


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_unpacking_has_an_end(folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = in_zip(("a.jpg", b"x")) if kind == "zip" else in_tar((member("a.jpg"), b"x"))
    monkeypatch.setattr(archives, "UNPACK_S", -1.0)
    with pytest.raises(TooLargeError, match="took more than"):
        open_up(folder, content)


def test_a_long_directory_is_not_read_into_memory(folder: Path) -> None:
    content = overlapping(60_000)

    def refuse() -> None:
        with pytest.raises(TooLargeError, match="50 files"):
            open_up(folder, content)

    assert peak_of(refuse) < len(content) + 5_000_000


def test_headers_within_headers_end(folder: Path) -> None:
    content = long_header(0, tarfile.XHDTYPE) * 20_000
    with pytest.raises(UsageError):
        open_up(folder, content)


def test_a_negative_size_does_not_read_a_tar_for_ever(folder: Path) -> None:
    first = in_tar((member("a.jpg"), b"x"))[:1024]
    info = member("b.jpg")
    info.size = -1024
    with pytest.raises(UsageError, match="before the end"):
        open_up(folder, first + info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_an_archive_that_breaks_off_is_refused(folder: Path, kind: str) -> None:
    content = random.Random(0).randbytes(5_000)
    files = [("a.jpg", content), ("b.jpg", content)]
    members = [(member(name), content) for name, content in files]
    whole = {
        "zip": in_zip(*files),
        "tar": in_tar(*members),
        "tar.gz": in_tar(*members, mode="w:gz"),
    }[kind]
    with pytest.raises(UsageError, match="cannot be unpacked"):
        open_up(folder, whole[: len(whole) // 2])


def test_a_damaged_file_in_a_zip_is_left_out(folder: Path) -> None:
    content = in_zip(("a.jpg", b"one-one"), ("b.jpg", b"x")).replace(b"one-one", b"two-two")
    unpacked = open_up(folder, content)
    assert set(unpacked.sizes) == {"b.jpg"}
    assert "CRC" in unpacked.skipped[0]["reason"]


def test_garbage_between_the_files_of_a_tar_is_an_error(folder: Path) -> None:
    first = in_tar((member("a.jpg"), b"x"))[:1024]
    with pytest.raises(UsageError, match="where a file should begin"):
        open_up(folder, first + b"garbage!" * 64 + first)


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff" * 400, b"PK\3\4", b"\x1f\x8b", b"PK"])
def test_what_is_no_archive_is_refused(folder: Path, content: bytes) -> None:
    with pytest.raises(UsageError, match="Expected a whole zip, tar or"):
        open_up(folder, content)


@pytest.mark.parametrize("kind", ["zip", "deflated", "tar", "pax", "tar.gz", "inner gz"])
def test_no_mutation_is_an_internal_error(folder: Path, kind: str) -> None:
    members = [(member(name), content) for name, content in GOOD.items()]
    base = {
        "zip": in_zip(*GOOD.items()),
        "deflated": in_zip(*GOOD.items(), method=zipfile.ZIP_DEFLATED),
        "tar": in_tar(*members),
        "pax": in_tar((member("é" * 200), b"x"), *members, form=tarfile.PAX_FORMAT),
        "tar.gz": in_tar(*members, mode="w:gz"),
        "inner gz": in_tar(*members, form=tarfile.PAX_FORMAT),
    }[kind]
    chance = random.Random(kind)
    for _ in range(60):
        content = bytearray(base)
        for _ in range(chance.randrange(1, 6)):
            content[chance.randrange(len(content))] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, 0x39])
        data = bytes(content)
        with suppress(CuemillError):
            open_up(folder, zlib.compress(data, wbits=31) if kind == "inner gz" else data)
