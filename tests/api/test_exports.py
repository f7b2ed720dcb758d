"""Exports, in large pieces and compressed."""

import zlib
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from api.exports import PIECE_CHARACTERS, accepts_gzip, gzipped, in_pieces
from models.errors import DeletedError


def test_text_is_the_same_in_large_pieces() -> None:
    lines = [f"{number}\n" for number in range(50_000)]
    pieces = list(in_pieces(iter(lines)))
    assert b"".join(pieces).decode() == "".join(lines)
    assert all(len(piece) >= PIECE_CHARACTERS for piece in pieces[:-1])


def test_what_breaks_off_has_no_end_when_compressed() -> None:
    def pieces() -> Iterator[bytes]:
        yield 100_000 * b"a"
        raise DeletedError("Deleted.")

    sent: list[bytes] = []
    with pytest.raises(DeletedError):
        sent.extend(gzipped(pieces()))
    decompressor = zlib.decompressobj(wbits=31)
    decompressor.decompress(b"".join(sent))
    assert not decompressor.eof


@pytest.mark.parametrize(
    ("accepted", "is_compressed"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("gzip;q=1.0, identity", True),
        ("", False),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip ; q=0.00, br", False),
        ("notgzip", False),
    ],
)
def test_a_client_that_reads_gzip_says_so(accepted: str, is_compressed: bool) -> None:
    assert accepts_gzip(accepted) is is_compressed


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_only_exports_are_compressed_and_only_for_whoever_asks(
    client: TestClient, faces: str
) -> None:
    job = client.post("/v1/jobs", json={"folder": faces}).json()
    path = f"/v1/jobs/{job['id']}/results"

    for encoding, sent in (("gzip", "gzip"), ("identity", None)):
        for ending in ("csv", "jsonl"):
            response = client.get(f"{path}.{ending}", headers={"Accept-Encoding": encoding})
            assert response.headers.get("Content-Encoding") == sent
            assert response.headers["Vary"] == "Accept-Encoding"
            assert response.text.startswith("job_id,path" if ending == "csv" else "")
        for ending in ("", ".parquet"):
            response = client.get(path + ending, headers={"Accept-Encoding": encoding})
            assert "Content-Encoding" not in response.headers
