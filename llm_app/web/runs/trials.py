"""Trials of searches in a list of runs."""

from pathlib import Path

from llm_app.jobs.folder import RunFolder
from llm_app.jobs.trial_runs import link_of


class Trials:
    """Which runs are trials."""

    def __init__(self) -> None:
        self._searches: dict[Path, Path] = {}  # trial -> its search: every look asks, and it never changes

    def is_over(self, folder: RunFolder) -> bool:
        """Whether a search tried it and is done with it: the leaderboard of the search shows it, while there is one."""
        search = self._searches.get(folder.path)
        if search is None:
            if (link := link_of(folder)) is None:  # as yet
                return False
            search = self._searches[folder.path] = folder.path.parent / link[0]
        return search.is_dir() and not folder.is_locked()
