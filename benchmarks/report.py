"""Tables whose rows appear as they are measured."""

from collections.abc import Sequence

from rich.console import Console

from benchmarks.hardware import describe


class Report:
    """A table of rates with a column for each folder, and ratios between its rows."""

    NAME, COLUMN = 48, 20

    def __init__(self, console: Console, title: str, columns: Sequence[str]) -> None:
        self._console = console
        self._rates: dict[str, list[float]] = {}
        self._print(title, columns, style="bold")

    def add(self, name: str, rates: Sequence[float], notes: Sequence[str] = ()) -> None:
        """Prints a row of rates, each with a note in brackets."""
        self._rates[name] = list(rates)
        texts = [f"{rate:,.0f}" if rate >= 20 else f"{rate:.1f}" for rate in rates]
        for i, note in enumerate(notes):
            texts[i] += f" ({note})" if note else ""
        self._print(name, texts)

    def compare(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Prints how many times as fast one row is as another."""
        self._console.print()
        for name, other in pairs:
            rates = zip(self._rates[name], self._rates[other], strict=True)
            ratio = f"{name.split(':')[0]} / {other.split(':')[0]}"
            self._print(ratio, [f"{a / b:.2f}" for a, b in rates])
        self._console.print()

    def _print(self, name: str, texts: Sequence[str], style: str | None = None) -> None:
        line = name.ljust(self.NAME) + "".join(text.rjust(self.COLUMN) for text in texts)
        self._console.print(line, style=style, highlight=False, soft_wrap=True)


def print_hardware(console: Console, seconds: float) -> None:
    console.print(describe(), highlight=False)
    console.print(f"It took {seconds / 60:.1f} minutes.", highlight=False)
