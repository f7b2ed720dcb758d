"""Which addresses webhooks may be sent to: a URL is checked when given, its addresses each time.

A name may lead anywhere, and elsewhere a moment later. So it is resolved once, all that it leads to
is checked, and the connection is made to a checked address (`worker/post.py`).
"""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from models.errors import AddressError, UsageError

URL_MAX: Final = 2048
_PORTS: Final = {"https": 443, "http": 80}

_METADATA: Final = frozenset(
    map(ip_address, ("169.254.169.254", "100.100.100.200", "168.63.129.16", "fd00:ec2::254"))
)
"""Where clouds give their machines credentials. Azure's address is a public one."""
_NAT64: Final = IPv6Network("64:ff9b::/96")
"""IPv4 addresses as seen through a gateway (RFC 6052)."""

_HINT: Final = "Set CUEMILL_WEBHOOK_PRIVATE=true to allow it."

Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class Endpoint:
    """A socket address to connect to, as `socket.getaddrinfo` gives it."""

    family: socket.AddressFamily
    address: tuple[Any, ...]


def check_url(url: str, *, private: bool) -> SplitResult:
    """Takes a receiver's URL apart.

    Args:
        private: whether plain HTTP and addresses of private networks are allowed.

    Raises:
        UsageError: it is not the URL of a receiver.
        AddressError: nothing may be sent there.
    """
    if len(url) > URL_MAX or not url.isascii() or not url.isprintable() or " " in url:
        raise UsageError(
            f"The URL is longer than {URL_MAX:,} characters, or has some that are not allowed. "
            "Encode them, and write the host in its ASCII form."
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{url} is not a URL ({error}). Correct it.") from None

    if parts.scheme not in _PORTS or not parts.hostname or port == 0 or parts.fragment:
        raise UsageError(f"{url} is not the URL of a receiver. Expected https://host/path.")
    if parts.username is not None or parts.password is not None:
        raise UsageError("The URL has a user or password. Receivers check the signature instead.")
    if parts.scheme == "http" and not private:
        raise AddressError(f"{url} is not encrypted. Expected https://. {_HINT}")

    # A name is resolved when something is sent; an address can be refused at once.
    try:
        address = ip_address(parts.hostname)
    except ValueError:
        return parts
    reason = _objection(address, private=private)
    if reason is not None:
        raise AddressError(f"{url} leads to {reason}")
    return parts


def port_of(parts: SplitResult) -> int:
    return parts.port or _PORTS[parts.scheme]


def resolve(host: str, port: int, *, private: bool) -> list[Endpoint]:
    """All that a host's name leads to.

    Raises:
        AddressError: it leads nowhere, or one of its addresses must not be connected to.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise AddressError(f"The name {host} cannot be resolved: {error}.") from error

    for *_, address in found:
        reason = _objection(ip_address(address[0]), private=private)
        if reason is not None:
            raise AddressError(f"{host} leads to {reason}")
    return [Endpoint(family, address) for family, _, _, _, address in found]


def _objection(address: Address, *, private: bool) -> str | None:
    """Why an address must not be connected to; None if it may."""
    for form in _forms(address):
        if (
            form in _METADATA
            or form.is_link_local
            or form.is_multicast
            or form.is_unspecified
            or (form.is_reserved and not form.is_loopback)
        ):
            return f"{address}, an address that no receiver can have."
        if not (form.is_global or private):
            return f"{address}, an address of this machine or of a private network. {_HINT}"
    return None


def _forms(address: Address) -> Iterator[Address]:
    """The address, or the IPv4 address that it stands for; both if it leads through a gateway."""
    if isinstance(address, IPv4Address):
        yield address
    elif address.ipv4_mapped:
        yield address.ipv4_mapped
    elif address in _NAT64:
        yield IPv4Address(int(address) & 0xFFFF_FFFF)
    else:
        yield address
        if address.sixtofour:
            yield address.sixtofour
        elif address.teredo:
            yield address.teredo[1]
