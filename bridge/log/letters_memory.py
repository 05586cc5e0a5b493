"""The letter box in its plainest form, in memory: the reference for the others."""

from collections.abc import Sequence

from bridge.errors import BridgeError
from bridge.letters import DeadLetter


class MemoryLetters:
    """`fail_with` makes the next puts raise, one each."""

    def __init__(self) -> None:
        self._letters: dict[str, DeadLetter] = {}
        self.fail_with: list[BridgeError] = []

    async def put(self, letters: Sequence[DeadLetter]) -> None:
        if self.fail_with:
            raise self.fail_with.pop(0)
        self._letters |= {letter.id: letter for letter in letters}

    async def letters(self) -> list[DeadLetter]:
        return sorted(self._letters.values(), key=lambda letter: (letter.dead_at_unix_nano, letter.id))
