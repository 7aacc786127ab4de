"""Samples of compared runs: fixed, broken or unchanged, with both answers."""

from collections.abc import Sequence

import gradio as gr

from llm_app.jobs.folder import RunFolder
from llm_app.services import Services
from llm_app.web.benchmark import samples_view
from llm_app.web.benchmark.results_cache import Compared, Shelf
from llm_app.web.benchmark.samples_controls import PAGE, Browser, Update, cut, paged, wanted
from llm_app.web.failures import failed
from llm_app.web.visitor import runs_of

SEPARATOR = " ⇢ "  # between candidate and task, where several runs are compared
# What the list can show <- the kinds that `eval.compare` tells apart.
KINDS = {
    "all": "result_show_all", "fixed": "kind_fixed", "broken": "kind_broken", "changed": "kind_changed",
    "unchanged": "kind_unchanged",
}  # fmt: skip
SHOWN_BY = {
    "fixed": ("fixed", "better"), "broken": ("broken", "worse"),
    "changed": ("fixed", "broken", "better", "worse", "changed"), "unchanged": ("both right", "both wrong", "equal"),
}  # fmt: skip
COUNTED = ("fixed", "broken", "unchanged")


class Changes:
    """What the controls above the samples do. `compared`: ids of the visitor's own runs, baseline first."""

    def __init__(self, services: Services, shelf: Shelf, browser: Browser) -> None:
        self._services, self._shelf, self._browser = services, shelf, browser

    def begin(self, request: gr.Request, compared: object, *values: object) -> Update:
        """Other samples: from their beginning."""
        return self.samples(request, compared, [*values[:4], 0])

    def stay(self, request: gr.Request, compared: object, *values: object) -> Update:
        """The same samples, shown otherwise."""
        return self.samples(request, compared, values)

    def back(self, request: gr.Request, compared: object, *values: object) -> Update:
        """The page before."""
        return self.samples(request, compared, values, step=-PAGE)

    def on(self, request: gr.Request, compared: object, *values: object) -> Update:
        """The next page."""
        return self.samples(request, compared, values, step=PAGE)

    def samples(
        self, request: gr.Request, compared: object, values: Sequence[object], *, step: int = 0
    ) -> Update:
        """A page of them. `values`: of the controls, as a browser sent them."""
        b = self._browser
        if not compared or not isinstance(compared, tuple | list):
            return {b.samples: "", b.count: ""}
        try:
            folders = self.folders(request, compared)
            tasks = tasks_of(self._shelf.compared(folders))
            asked = wanted(values, list(tasks), tuple(KINDS))
            found, task, candidate = tasks[asked.task]
            kinds = {n: kind for kind in found.kinds[task] for n in found.kinds[task][kind]}
            before, after = self._shelf.index(folders[0]), self._shelf.index(folders[candidate])
            wanted_kinds = SHOWN_BY.get(asked.kind, tuple(found.kinds[task]))
            numbers = [n for n in before.samples(task) if kinds.get(n) in wanted_kinds]
            if asked.words:
                matching = {*before.matching(task, numbers, asked.words), *after.matching(task, numbers, asked.words)}
                numbers = [n for n in numbers if n in matching]
            page, start = cut(numbers, max(0, asked.place + step))
            pairs = zip(before.read(task, page), after.read(task, page), strict=True)
            key = next(one.metric for one in found.comparison.single_tasks if one.task == task)
            made = samples_view.change_list(
                [(first, second, kinds[first.sample]) for first, second in pairs], key,
                (found.comparison.baseline, found.comparison.candidate), shows_spaces=asked.shows_spaces,
            )  # fmt: skip
        except Exception as error:
            return {b.samples: failed(error), b.count: ""}
        choices = gr.update(choices=list(tasks), value=asked.task)
        counts = {KINDS[name]: sum(len(found.kinds[task].get(kind, ())) for kind in SHOWN_BY[name]) for name in COUNTED}
        return {b.task: choices, b.samples: made, **paged(b, start, len(page), len(numbers), counts)}

    def folders(self, request: gr.Request, runs: Sequence[str]) -> list[RunFolder]:
        """The runs. Raises: RunNotFound for one of another owner."""
        store = runs_of(request, self._services)
        return [store.open(run_id) for run_id in runs]


def tasks_of(compared: Sequence[Compared]) -> dict[str, tuple[Compared, str, int]]:
    """What the list of tasks offers -> the comparison, the task, and the candidate's place among the runs."""
    has_several = len(compared) > 1
    return {
        f"{found.comparison.candidate}{SEPARATOR}{task.task}" if has_several else task.task: (found, task.task, place)
        for place, found in enumerate(compared, start=1) for task in found.comparison.single_tasks
    }
