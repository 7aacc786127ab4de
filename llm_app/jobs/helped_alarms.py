"""Why the figures of "Did it help?" may flatter: weights chosen by these samples, samples that training has seen."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eval.compare.run import Text
from eval.tasks.harness import Suite
from llm_app.data.audit import LENGTHS, alike, sharing, texts_of
from llm_app.data.types import Example
from llm_app.jobs.folder import RunFolder, RunNotFound
from llm_app.jobs.held_back import NAMES
from llm_app.jobs.search import read_trials
from llm_app.jobs.store import RunStore
from llm_app.jobs.train_log import read_log
from llm_app.jobs.train_material import Material
from llm_app.jobs.trial_runs import link_of


def alarms_of(trained: RunFolder, material: Material, suite: Suite) -> list[Text]:
    """What a person must know before believing the figures, in English and Chinese."""
    asked, found = material.test or material.validation, list[Text]()
    n_alike = len(alike(asked, material.train))
    if n_alike:
        found.append(_alike_text(n_alike, len(asked)))
    found += [_leak_text(task, n) for task, n in leaked_samples(material.train, suite).items()]
    if not material.test:
        found += _choice_texts(_n_weights(trained), _n_trials(trained))
    return found


def leaked_samples(examples: Sequence[Example], suite: Suite) -> dict[str, int]:
    """Task -> how many of its samples share 13 words in a row with an example that was trained on, if any do."""
    trained = [texts_of(example) for example in examples]
    found = {
        name: len(sharing([tuple(_texts(task.harness.eval_docs[sample.id])) for sample in task.samples], trained))
        for name, task in suite.tasks.items() if name not in NAMES
    }
    return {name: n for name, n in found.items() if n}


def _texts(value: Any) -> Iterator[str]:
    """All texts in a row of a data set."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(item)


def _n_weights(trained: RunFolder) -> int:
    """Of how many sets of weights the lowest validation loss chose these; 1 if nothing was chosen."""
    log = read_log(trained)
    return sum(validation.step > 0 for validation in log.validations) if log.written and log.written.is_best else 1


def _n_trials(trained: RunFolder) -> int:
    """Of how many trials of a search the run is one; 0 if it is none."""
    link = link_of(trained)
    if link is None:
        return 0
    search, number = link
    try:
        return max(number + 1, len(read_trials(RunStore(trained.path.parent).open(search).events())))
    except RunNotFound:  # deleted meanwhile: there were as many at least
        return number + 1


def _alike_text(n: int, n_asked: int) -> Text:
    return (
        f"{n:,} of the {n_asked:,} held-back examples share {LENGTHS[-1]} words in a row with one that was trained on:"
        " a good score there may be memory.",
        f"{n_asked:,} 条留出样本中有 {n:,} 条与某个训练样本有连续 {LENGTHS[-1]} 个词相同，得分高可能只是记住了。",
    )


def _leak_text(task: str, n: int) -> Text:
    return (
        f"{n:,} samples of {task} share {LENGTHS[-1]} words in a row with what was trained on: a good score there may"
        " be memory.",
        f"{task} 中有 {n:,} 条样本与训练数据有连续 {LENGTHS[-1]} 个词相同，这项得分高可能只是记住了。",
    )


def _choice_texts(n_weights: int, n_trials: int) -> Iterator[Text]:
    """Without a test part, the samples that are asked are those that chose."""
    if n_weights > 1:
        yield (
            f"The weights were chosen from {n_weights} by their loss on the held-back examples: the figures on these"
            " flatter a little. Train with a test share to have examples that chose nothing.",
            f"权重是按留出样本上的损失从 {n_weights} 组中选出的，因此这些样本上的数字略偏乐观。"
            "训练时设置测试集比例，就会有不参与任何选择的样本。",
        )
    if n_trials > 1:
        yield (
            f"This run is one of {n_trials} trials of a search, which compared them by their loss on the same held-back"
            " examples: the figures of the best one flatter.",
            f"该运行是一次搜索的 {n_trials} 次试验之一，搜索正是按同一批留出样本上的损失比较它们的，"
            "因此最好的一次的数字偏乐观。",
        )
