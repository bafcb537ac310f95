"""Outlets that wait at a gate: by stream, the one with the fewest slots first, then the first that came."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

Key = tuple[str, str]
"""Which outlet: (pool, site)."""


class Line:
    """Joining, leaving and looking at the first cost O(log n); an outlet stands in it once for each stream.
    `count`: how many stand here by stream; empty when nobody does."""

    __slots__ = ("_heaps", "_places", "_ticket", "count")

    def __init__(self) -> None:
        self._heaps: dict[str, list[tuple[int, int, Key]]] = {}
        self._places: dict[tuple[str, Key], int] = {}
        self.count: dict[str, int] = {}
        self._ticket = 0

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: Key) -> bool:
        return any((stream, key) in self._places for stream in self.count)

    def join(self, stream: str, key: Key, held: int) -> None:
        """An outlet wants a slot for a stream and has `held` already; one that stands here keeps its place."""
        if (stream, key) in self._places:
            return
        self._ticket += 1
        self._places[(stream, key)] = self._ticket
        self.count[stream] = self.count.get(stream, 0) + 1
        heap = self._heaps.setdefault(stream, [])
        heappush(heap, (held, self._ticket, key))
        if len(heap) > 2 * self.count[stream] + 16:  # more left than stand: those who left are cleared away
            heap[:] = [entry for entry in heap if self._stands(stream, entry)]
            heapify(heap)

    def leave(self, key: Key, stream: str | None = None) -> None:
        """The outlet no longer waits here, for that stream or for any."""
        for name in list(self.count) if stream is None else (stream,):
            if self._places.pop((name, key), None) is not None:
                self.count[name] -= 1
                if not self.count[name]:
                    del self.count[name], self._heaps[name]

    def streams(self) -> list[str]:
        """The streams for which an outlet waits here."""
        return list(self.count)

    def first(self, stream: str) -> tuple[int, Key]:
        """(ticket, outlet) of the first that waits for a stream of `streams`."""
        heap = self._heaps[stream]
        while not self._stands(stream, heap[0]):
            heappop(heap)
        return heap[0][1:]

    def _stands(self, stream: str, entry: tuple[int, int, Key]) -> bool:
        return self._places.get((stream, entry[2])) == entry[1]
