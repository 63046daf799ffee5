"""Headers of a SIP message as a mapping."""

from collections.abc import Iterable, Iterator, Mapping

from ringback._ringback import header_name


class Headers(Mapping[str, str]):
    """Case-insensitive; long and compact names are the same ("f" finds "From", RFC 3261 §7.3.3). Repeats are joined by
    ", ".

    Iteration gives each name once, in the order of the message, known names in their canonical spelling.
    """

    __slots__ = ("_lines",)

    def __init__(self, lines: Iterable[tuple[str, str]] = ()) -> None:
        self._lines: dict[str, tuple[str, list[str]]] = {}
        for name, value in lines:
            name = header_name(name)
            self._lines.setdefault(name.lower(), (name, []))[1].append(value)

    def __getitem__(self, name: str) -> str:
        return ", ".join(self._lines[self._key(name)][1])

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._key(name) in self._lines

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._lines.values())

    def __len__(self) -> int:
        return len(self._lines)

    def __repr__(self) -> str:
        return f"Headers({dict(self)!r})"

    def values_of(self, name: str) -> list[str]:
        """The values of all lines with this name, one a line; empty where there is none."""
        found = self._lines.get(self._key(name))
        return list(found[1]) if found else []

    @staticmethod
    def _key(name: str) -> str:
        return header_name(name).lower()
