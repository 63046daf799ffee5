"""Draws one call between two parties as a ladder: SIP messages as arrows, state changes beside the party they happened at."""

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from ringback import CallState


@dataclass(frozen=True)
class Arrow:
    """A message from left to right, or the other way."""

    at: float  # seconds since the ladder began
    label: str
    to_right: bool


@dataclass(frozen=True)
class Change:
    """A party's new call state."""

    at: float
    state: CallState
    on_right: bool


class Ladder:
    """Collects steps in the order of their times and renders them."""

    SPAN = 34
    MARGIN = 13

    def __init__(self, left: str, right: str) -> None:
        self._left = left
        self._right = right
        self._steps: list[Arrow | Change] = []

    def add(self, step: Arrow | Change) -> None:
        self._steps.append(step)

    def __len__(self) -> int:
        return len(self._steps)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        margin, span = self.MARGIN, self.SPAN
        header = Text(" " * 11)
        header.append(self._left.rjust(margin), style="bold")
        header.append(" " * (span + 4))
        header.append(self._right, style="bold")
        yield header
        for step in sorted(self._steps, key=lambda step: step.at):
            line = Text(f"{step.at * 1000:8.1f} ms", style="dim")
            match step:
                case Arrow(label=label, to_right=to_right):
                    body = f" {label} ".center(span, "─")
                    arrow = f"{body}▶" if to_right else f"◀{body}"
                    line.append(" " * margin + "│", style="white")
                    line.append(f" {arrow} ".ljust(span + 3), style="cyan" if to_right else "green")
                    line.append("│", style="white")
                case Change(state=state, on_right=on_right):
                    name = state.name.lower().replace("_", " ")
                    line.append(("" if on_right else name + " ").rjust(margin), style="yellow")
                    line.append("│", style="white")
                    line.append(" " * (span + 3))
                    line.append("│", style="white")
                    line.append(f" {name}" if on_right else "", style="yellow")
            yield line
