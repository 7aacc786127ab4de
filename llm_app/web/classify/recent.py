"""What was read or computed last and may be asked for again, as much of it as fits into so many bytes."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """The newest values, of which the last one stays however large it is. For any thread.

    One is made at a time, so that none is made twice; what is there already is given meanwhile.
    """

    def __init__(self, max_bytes: int, size: Callable[[Value], int]) -> None:
        self._max_bytes, self._size = max_bytes, size
        self._lock, self._making = threading.Lock(), threading.Lock()
        self._values: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of this key. Raises: what `make` raises; then nothing is kept."""
        found = self._found(key)
        if found is not None:
            return found[0]
        with self._making:
            found = self._found(key)
            return found[0] if found is not None else self._put(key, make())

    def _found(self, key: Hashable) -> tuple[Value, int] | None:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def _put(self, key: Hashable, value: Value) -> Value:
        n_bytes = self._size(value)
        with self._lock:
            self._values[key] = value, n_bytes
            n_all = sum(size for _, size in self._values.values())
            while n_all > self._max_bytes and len(self._values) > 1:
                n_all -= self._values.popitem(last=False)[1][1]
        return value
