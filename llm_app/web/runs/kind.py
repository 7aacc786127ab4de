"""What a tab brings so that its runs can be shown, stopped and resumed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llm_app.jobs.folder import RunFolder
from llm_app.jobs.queue import Work
from llm_app.web.runs import views
from llm_app.web.runs.follow import Tally


@dataclass(frozen=True)
class Kind:
    """One kind of run. `names`: as spec.json has them. `empty`: HTML shown while there is no run at all.

    `resume` gives the rest of a run as work for the queue, or raises UserError. `needs_model`: it goes on only on the
    model that it began with. `keeps_body`: the body of the card stays when the run is over, since it is the result.
    `aside`: HTML in the line of the list of a run that is over. `is_elsewhere`: runs of this kind that have a list of
    their own; they stand in this one only while they run.
    """

    names: tuple[str, ...]
    make_tally: Callable[[RunFolder], Tally]
    resume: Callable[[RunFolder], Work]
    empty: str
    manner: views.Manner = views.SAMPLES
    needs_model: bool = False
    keeps_body: bool = False
    aside: Callable[[Any], str] | None = None  # given the run's tally
    is_elsewhere: Callable[[RunFolder], bool] | None = None
