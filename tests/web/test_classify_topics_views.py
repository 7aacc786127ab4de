"""What the Classify tab shows of topics: a map that is read without colour and without a mouse, and the texts."""

import re
from dataclasses import replace

import pytest

from llm_app.classify.topics.types import Point, Topic, TopicMap
from llm_app.web.classify.topics_views import MAX_DRAWN, Shown, topics

TEXTS = ("late parcel", "parcel <b>lost</b> {x}", "nice staff", "12")
TOPICS = (Topic(0, 2, (("parcel", 0.9), ("late", 0.2)), (1, 0)), Topic(1, 1, (("staff", 0.5),), (2,)))
POINTS = (Point(0, -1.0, 2.0, 0), Point(1, -0.5, 2.0, 0), Point(2, 3.0, -4.0, 1), Point(3, 0.0, 0.0, -1))
MAP = TopicMap(TOPICS, POINTS, {2: 0.5, 3: 0.25}, 0.375, 1)


def shown(found: TopicMap = MAP, texts: tuple[str, ...] = TEXTS) -> Shown:
    return Shown(found, "rows.csv", [line + 2 for line in range(len(texts))], texts)


def marks(page: str) -> list[str]:
    return re.findall(r'class="topic-mark">([^<]*)<', page)


def test_the_marks_of_the_map_are_the_numbers_of_the_topics() -> None:
    assert marks(topics(shown())) == ["·", "1", "1", "2"]


def test_the_map_keeps_left_and_right_and_up_and_down() -> None:
    places = re.findall(r'style="left:([\d.]+)%;top:([\d.]+)%" class="topic-mark">([^<]*)<', topics(shown()))
    assert [(sign, x, y) for x, y, sign in places] == [
        ("·", "27.0", "34.7"), ("1", "4.0", "4.0"), ("1", "15.5", "4.0"), ("2", "96.0", "96.0"),
    ]  # fmt: skip


def test_every_mark_is_a_radio_button_of_one_name_that_says_its_text() -> None:
    page = topics(shown())
    assert page.count('<input type="radio" name="topic-map">') == len(POINTS)
    assert len(re.findall(r'<label[^>]*><input[^>]*><i[^>]*>[^<]*</i><span class="tip">', page)) == len(POINTS)


def test_texts_of_a_table_are_never_markup() -> None:
    page = topics(shown())
    assert "<b>lost" not in page and "{x}" not in page and "&lt;b&gt;lost" in page


def test_each_topic_has_its_words_its_size_and_its_texts_with_their_lines() -> None:
    page = topics(shown())
    assert re.findall(r'<li title="[\d.]+">(\w+)</li>', page) == ["parcel", "late", "staff"]
    assert "2 texts, 50%" in page and "2 条，占 50%" in page
    assert re.findall(r'<li><span class="number">(\d+)</span>', page) == ["3", "2", "4"]


def test_what_was_chosen_cut_and_left_out_is_told() -> None:
    page = topics(shown())
    for words in ("2 topics have the best silhouette ↑, 0.50, of 2 to 3 tried", "38% of the variance",
                  "1 texts belong to none", "1 texts were too long"):  # fmt: skip
        assert words in page


def test_of_very_many_texts_an_even_draw_is_drawn_and_that_is_said() -> None:
    n = 3 * MAX_DRAWN + 1
    many = tuple(Point(index, float(index), 0.0, index % 2) for index in range(n))
    page = topics(shown(replace(MAP, points=many), ("text",) * n))
    assert 1 < len(marks(page)) <= MAX_DRAWN
    assert f"{len(marks(page)):,} of {n:,} texts are drawn" in page


@pytest.mark.parametrize("points", [(Point(0, 1.0, 1.0, 0), Point(1, 1.0, 1.0, 0))])
def test_texts_that_all_say_the_same_stand_in_the_middle(points: tuple[Point, ...]) -> None:
    same = TopicMap((Topic(0, 2, (), (0, 1)),), points, {}, None, 0)
    page = topics(shown(same, ("a", "a")))
    assert page.count("left:50.0%;top:50.0%") == 3  # two marks and the topic's name
    assert "No key words" in page
