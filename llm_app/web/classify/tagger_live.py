"""The training of a tagger while it goes on; when it is over, a button puts the tagger to use."""

from eval.report.markup import element
from llm_app.web.benchmark.results_markup import block, said
from llm_app.web.classify.train_live import ClassifierTally

USE = "use-tagger"  # name of the button


class TaggerTally(ClassifierTally):
    """What the log of a tagger's training comes to so far."""

    def body(self) -> str:
        """As of every training, and below it the button."""
        if self.written is None:
            return super().body()
        button = element("button", said("tagger_use"), type="button", name=USE, value="", class_="lg primary use")
        return super().body() + block(element("p", button))
