"""What a scan passed over, in words."""

from collections.abc import Collection, Mapping

from models.sources.names import HIDDEN, OTHER, REMEDIES, UNREAD


def describe(counts: Mapping[str, int], exclude: Collection[str] = ()) -> list[str]:
    """Sentences: pictures that are not read, what patterns exclude, and other files.

    Args:
        counts: by the ending of a picture, by pattern, or by `HIDDEN` or `OTHER`.
        exclude: the patterns.
    """
    unread = {kind: counts[kind] for kind in counts if kind in UNREAD | REMEDIES.keys()}
    excluded = {kind: counts[kind] for kind in counts if kind in exclude}
    others = {kind: counts[kind] for kind in (OTHER, HIDDEN) if counts.get(kind)}

    sentences = []
    if unread:
        remedies = {kind: f" ({REMEDIES[kind]})" for kind in unread if kind in REMEDIES}
        named = [f"{n:,} {kind}{remedies.get(kind, '')}" for kind, n in _most_first(unread)]
        sentences.append(f"{_files(sum(unread.values()))} skipped: {', '.join(named)}.")
    if excluded:
        named = [f"{n:,} {pattern}" for pattern, n in _most_first(excluded)]
        sentences.append(f"Excluded by name: {', '.join(named)}.")
    if others:
        named = [f"{n:,} {kind}" for kind, n in others.items()]
        total = "file" if list(others.values())[-1] == 1 else "files"
        sentences.append(f"Passed over as no pictures: {' and '.join(named)} {total}.")
    return sentences


def _files(number: int) -> str:
    return "1 file" if number == 1 else f"{number:,} files"


def _most_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
