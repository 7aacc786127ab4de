"""Two replies at once: read together, stopped together."""

from collections.abc import Iterator, Sequence

from llm_app.errors import Cancelled
from llm_app.messages import Stream
from llm_app.web.chat.reply import Reply

SILENCE_SECONDS = 0.04  # that one reply is waited for before the other is looked at


class Pair:
    """What a visitor's Stop stops: the two streams, also those that are yet to begin."""

    def __init__(self) -> None:
        self.is_closed = False
        self._streams: list[Stream] = []

    def add(self, stream: Stream) -> Stream:
        """One more to stop."""
        self._streams.append(stream)
        if self.is_closed:
            stream.close()
        return stream

    def close(self) -> None:
        """Stop both; what was written stays."""
        self.is_closed = True
        for stream in list(self._streams):
            stream.close()

    def check(self) -> None:
        """Raises: Cancelled if it was stopped before there was anything to stop."""
        if self.is_closed:
            raise Cancelled("It was stopped before the answers began.")


def read_together(replies: Sequence[Reply]) -> Iterator[bool]:
    """Take in what comes of all, until all have ended; True when there is something new to show."""
    readers = [reply.read(SILENCE_SECONDS) for reply in replies]
    try:
        while readers:
            is_news = False
            for reader in list(readers):
                news = next(reader, None)
                if news is None:
                    readers.remove(reader)  # its last line says how it ended
                is_news |= news is not False
            yield is_news
    finally:
        for reply in replies:
            reply.stream.close()
