"""Reads a page as a browser does, and checks what holds for every page."""

from html.parser import HTMLParser
from typing import Any, Final
from urllib.parse import urlsplit

HOSTILE: Final = """'"></bdi><script>alert(1)</script><img src=//evil.example onerror=alert(1)>"""
"""Text that runs a script wherever a page shows it without escapes."""

_VOID: Final = {"meta", "link", "img", "input", "br", "wbr", "hr"}
_OWN: Final = {"href", "src", "action", "formaction", "srcset"}
_SVG_LEAVES: Final = {"rect", "path", "circle", "line"}


class Page(HTMLParser):
    """The elements and the text of a page.

    Attributes:
        elements: tags with their attributes, in the order of the page.
    """

    def __init__(self, response: Any, status: int = 200) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self._open: list[str] = []
        self._texts: list[str] = []

        assert response.status_code == status, response.text
        self.policy = response.headers["Content-Security-Policy"]
        self.feed(response.text)
        assert not self._open, "an element is not closed"
        self._check()

    @property
    def text(self) -> str:
        return " ".join("".join(self._texts).split())

    @property
    def title(self) -> str:
        return self._title

    def all(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        """The attributes of all elements of this kind."""
        return [
            own for name, own in self.elements if name == tag and attributes.items() <= own.items()
        ]

    def links(self) -> list[str]:
        return [own["href"] for own in self.all("a")]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _SVG_LEAVES, f"<{tag}/> stays open in HTML"
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self._texts.append(data)
        if self._open and self._open[-1] == "title":
            self._title = data

    def _check(self) -> None:
        """That nothing is inline or from outside, and that everything has a name."""
        assert self.policy.startswith("default-src 'none'; ")
        assert "unsafe" not in self.policy

        for tag, attributes in self.elements:
            assert tag not in ("style", "iframe", "base", "object")
            assert not [name for name in attributes if name == "style" or name.startswith("on")]
            for name in _OWN & attributes.keys():
                assert not any(urlsplit(attributes[name])[:2]), attributes[name]

        assert all(own["src"].startswith("/static/") for own in self.all("script"))
        assert len(self.all("script")) == len(self.all("h1")) == len(self.all("main")) == 1
        assert all("alt" in own for own in self.all("img"))
        assert all(own["method"] in ("get", "post") for own in self.all("form"))

        labelled = {own["for"] for own in self.all("label")}
        fields = self.all("input") + self.all("select") + self.all("textarea")
        ids = [own["id"] for own in fields if own.get("type") != "hidden"]
        assert set(ids) <= labelled
        assert len(ids) == len(set(ids))
