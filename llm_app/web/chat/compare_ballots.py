"""Where votes are kept: in a file of this machine, or on a public page in the visitor's browser alone."""

import json

from llm_app import votes
from llm_app.config import Settings
from llm_app.votes import Vote, VoteBook

MAX_IN_BROWSER = 200  # votes
MAX_CHARACTERS = 1_000_000  # a browser keeps some five million for a site, and the page has other things to keep


class Ballots:
    """The votes of whoever asks. `kept` is what the browser sent; it is looked at on a public page only."""

    def __init__(self, settings: Settings) -> None:
        self.are_in_browser = settings.is_public
        self._book = VoteBook.of(settings)

    def read(self, kept: object) -> tuple[list[Vote], int]:
        """All votes, and how many of them are damaged.

        Raises: UserError if the file cannot be read.
        """
        if not self.are_in_browser:
            return self._book.read()
        rows = kept if isinstance(kept, list) else []
        found = [votes.read_vote(row) for row in rows[-MAX_IN_BROWSER:]]
        whole = [vote for vote in found if vote is not None]
        return votes.unique(whole), len(found) - len(whole)

    def add(self, vote: Vote, kept: object) -> tuple[list[object], int]:
        """Keep one more: what the browser is to keep, and how many of its oldest it had to let go.

        Raises: UserError if the file cannot be written.
        """
        if not self.are_in_browser:
            self._book.add(vote)
            return [], 0
        lines = [votes.line_of(each) for each in votes.unique([*self.read(kept)[0], vote])]
        left = lines[-MAX_IN_BROWSER:]
        while len(left) > 1 and sum(map(len, left)) > MAX_CHARACTERS:
            del left[0]
        return [json.loads(line) for line in left], len(lines) - len(left)
