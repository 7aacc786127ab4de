"""How much an anonymous visitor may keep."""

from collections.abc import Sequence
from dataclasses import dataclass

from llm_app.errors import UserError


class QuotaReached(UserError):
    """The visitor's own runs fill what there is for them; `oldest` could make room."""

    def __init__(self, message: str, oldest: Sequence[str]) -> None:
        super().__init__(message)
        self.oldest = tuple(oldest)


class TooManyRuns(QuotaReached):
    """One more would be over the number."""

    status, code = 429, "rate_limited"


class TooManyBytes(QuotaReached):
    """They are over the size already."""

    status, code = 507, "insufficient_storage"


@dataclass(frozen=True)
class Quota:
    """What one visitor of a public demo may keep."""

    n_runs: int = 20
    n_bytes: int = 50 << 20

    def check(self, runs: Sequence[str], n_bytes: int) -> None:
        """Whether there is room for another run beside these, oldest last.

        Raises: TooManyRuns, TooManyBytes, with the numbers and the oldest runs.
        """
        oldest = runs[: -4 : -1]
        offer = f"Delete some; the oldest: {', '.join(oldest)}."
        if len(runs) >= self.n_runs:
            raise TooManyRuns(f"You have {len(runs)} runs here, and {self.n_runs} is the limit. {offer}", oldest)
        if n_bytes >= self.n_bytes:
            used, limit = n_bytes / (1 << 20), self.n_bytes / (1 << 20)
            raise TooManyBytes(f"Your runs take {used:.1f} MB, and {limit:.1f} MB is the limit. {offer}", oldest)
