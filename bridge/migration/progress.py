"""How far a long command is: a bar on a terminal, plain lines elsewhere; on standard error."""

import sys
import time
from dataclasses import dataclass, field
from typing import Final, TextIO

PLAIN_EVERY_SECONDS: Final = 5.0
BAR_CELLS: Final = 30


def told(done: int, total: int, seconds: float) -> str:
    """In words: how many, how fast, how long still."""
    rate = done / seconds if seconds > 0 else 0.0
    left = f", {(total - done) / rate:.0f} s left" if rate > 0 and total > done else ""
    return f"{done} of {total} documents, {rate:.0f}/s{left}"


def bar(done: int, total: int) -> str:
    filled = BAR_CELLS * min(done, total) // total if total else BAR_CELLS
    return "█" * filled + "░" * (BAR_CELLS - filled)


@dataclass(slots=True)
class Progress:
    """`skipped` documents of `total` were done before and count for no speed."""

    total: int
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    plain_every_seconds: float = PLAIN_EVERY_SECONDS
    done: int = 0
    skipped: int = 0
    _began: float = field(default_factory=time.monotonic)
    _told: float = field(default_factory=time.monotonic)

    def add(self, documents: int, where: str, *, is_old: bool = False) -> None:
        """Show it, at most every few seconds where nobody watches."""
        self.done += 0 if is_old else documents
        self.skipped += documents if is_old else 0
        now, total = time.monotonic(), max(0, self.total - self.skipped)
        text = f"{told(self.done, total, now - self._began)}  {where}"
        if self.stream.isatty():
            self.stream.write(f"\r\x1b[K{bar(self.done, total)} {text}")
            self.stream.flush()
        elif now - self._told >= self.plain_every_seconds:
            self._told = now
            print(text, file=self.stream, flush=True)

    def end(self) -> None:
        if self.stream.isatty():
            self.stream.write("\n")
