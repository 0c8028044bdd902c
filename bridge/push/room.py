"""How much may be under way at once: so many pushes, so many bytes. What finds no room is sent again by the vendor."""

from __future__ import annotations

from dataclasses import dataclass


class NoRoom(Exception):
    """The sender must wait and come again."""


@dataclass(slots=True)
class Place:
    """What one push takes up, within `with`."""

    room: Room
    size: int = 0

    def grow(self, size: int) -> None:
        """Raises NoRoom."""
        if self.room.held + size > self.room.most_bytes:
            raise NoRoom
        self.room.held += size
        self.size += size

    def __enter__(self) -> Place:
        self.room.under_way += 1
        return self

    def __exit__(self, *_error: object) -> None:
        self.room.under_way -= 1
        self.room.held -= self.size


@dataclass(slots=True)
class Room:
    """The bounds of pushes that were begun and are not answered. `under_way` and `held` are what is taken now."""

    most: int
    most_bytes: int
    under_way: int = 0
    held: int = 0

    def place(self) -> Place:
        """One push's place until it is answered. Raises NoRoom."""
        if self.under_way >= self.most:
            raise NoRoom
        return Place(self)
