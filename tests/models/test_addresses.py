"""Where webhooks may be sent: no URL, and no name, leads to what is not for them."""

import socket

import pytest

from models.addresses import check_url, resolve
from models.errors import AddressError, UsageError

NEVER = [
    "169.254.169.254",  # Metadata of most clouds: link-local.
    "168.63.129.16",
    "100.100.100.200",
    "fd00:ec2::254",
    "169.254.1.1",
    "fe80::1",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "ff02::1",
    "240.0.0.1",
    "255.255.255.255",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "::169.254.169.254",
]
PRIVATE = [
    "127.0.0.1",
    "127.1.2.3",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "::1",
    "fc00::1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::1",
]
PUBLIC = ["93.184.215.14", "2606:2800:21f:cb07::1", "::ffff:93.184.215.14", "64:ff9b::5db8:d70e"]


def host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


@pytest.mark.parametrize(
    ("address", "least"),
    [
        *((address, None) for address in NEVER),
        *((address, True) for address in PRIVATE),
        *((address, False) for address in PUBLIC),
    ],
)
def test_an_address_is_allowed_always_or_never_or_by_the_setting(
    address: str, least: bool | None
) -> None:
    for private in (False, True):
        if least is not None and private >= least:
            check_url(f"https://{host(address)}/x", private=private)
            (endpoint,) = resolve(address, 443, private=private)
            assert endpoint.address[1] == 443
            continue

        with pytest.raises(UsageError, match="leads to"):
            check_url(f"https://{host(address)}/x", private=private)
        with pytest.raises(AddressError, match="leads to"):
            resolve(address, 443, private=private)


@pytest.mark.parametrize("spelling", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1", "localhost"])
def test_no_spelling_of_this_machine_is_reached(spelling: str) -> None:
    check_url(f"https://{spelling}/", private=False)  # A name, for all that is known yet.
    with pytest.raises(AddressError):
        resolve(spelling, 443, private=False)


def test_a_name_is_refused_if_only_one_of_its_addresses_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))
        for address in ("93.184.215.14", "10.0.0.1")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(AddressError, match=r"example\.org leads to 10\.0\.0\.1"):
        resolve("example.org", 443, private=False)
    assert [end.address[0] for end in resolve("example.org", 443, private=True)] == [
        "93.184.215.14",
        "10.0.0.1",
    ]


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "ftp://example.org/",
        "file:///etc/passwd",
        "https:///x",
        "//example.org/x",
        "https://user:password@example.org/",
        "https://example.org:0/",
        "https://example.org:99999/",
        "https://[::1/",
        "https://example.org/#x",
        "https://example.org/a b",
        "https://example.org/\r\nX: y",
        "https://ex\u00e4mple.org/",
        f"https://example.org/{'x' * 2048}",
        "",
    ],
)
def test_what_is_no_public_https_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        check_url(url, private=False)


def test_plain_http_needs_the_setting() -> None:
    assert check_url("http://example.org:8080/x", private=True).port == 8080
