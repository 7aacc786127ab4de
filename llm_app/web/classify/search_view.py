"""A search over trainings of a classifier: the leaderboard, and what the best one comes to on the test rows."""

from typing import cast

from eval.report.markup import element
from llm_app.classify.types import Kind
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.trial_runs import scored_of
from llm_app.web.benchmark.results_markup import block, said
from llm_app.web.classify.train_live import scored_table
from llm_app.web.tune.search_view import SearchTally


class ClassifierSearchTally(SearchTally):
    """What the log of such a search comes to so far."""

    def __init__(self, folder: RunFolder) -> None:
        super().__init__(folder)
        self._kind = cast(Kind, folder.spec()["columns"]["kind"])

    def body(self) -> str:
        """The scores of the best, once the search is over, above the leaderboard."""
        scored = scored_of(self.events)
        if not scored:
            return super().body()
        chosen = said(f"search_chosen_{scored[0].part}")
        table = scored_table(scored, scored[0].method, self._kind)
        return block(element("p", chosen, class_="quiet"), table) + super().body()
