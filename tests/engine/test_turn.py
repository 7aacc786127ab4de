"""Who goes next."""

import threading
import time

from llm_app.engine.turn import BATCH, CHAT, LEAST_SECONDS, PATIENCE, Turn


def test_one_holds_it_at_a_time_and_chats_go_first_without_starving_the_rest() -> None:
    turn, order, holders = Turn(), [], [0]

    def work(name: int, n: int) -> None:
        for _ in range(n):
            with turn.held(name):
                holders[0] += 1
                assert holders[0] == 1
                order.append(name)
                time.sleep(0.002)
                holders[0] -= 1

    turn.acquire()
    threads = [threading.Thread(target=work, args=(rank, n)) for rank, n in ((BATCH, 10), (CHAT, 40), (CHAT, 40))]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    turn.release()
    for thread in threads:
        thread.join()
    assert order[0] == CHAT
    # While both wait, the batch gets one pass in PATIENCE + 1.
    busy = order[: len(order) - order[::-1].index(BATCH)]
    assert busy.count(CHAT) <= busy.count(BATCH) * PATIENCE + PATIENCE
    assert busy.count(CHAT) >= busy.count(BATCH) * PATIENCE - PATIENCE


def test_a_turn_is_given_back_when_the_work_fails() -> None:
    turn = Turn()
    try:
        with turn.held():
            raise ValueError
    except ValueError:
        pass
    with turn.held(BATCH):
        pass


def test_in_the_middle_of_a_pass_the_turn_goes_to_who_waits_with_a_higher_rank_and_comes_back() -> None:
    turn, order = Turn(), []

    def chat() -> None:
        with turn.held(CHAT):
            order.append("chat")

    turn.acquire(BATCH)
    assert not turn.give_way(BATCH), "nobody waits"
    other = threading.Thread(target=turn.acquire, args=(BATCH,), daemon=True)
    other.start()
    time.sleep(LEAST_SECONDS)
    assert not turn.give_way(BATCH), "one of the same rank waits for the whole pass"
    thread = threading.Thread(target=chat, daemon=True)
    thread.start()
    while len(turn._waiting) < 2:
        time.sleep(0.001)
    assert turn.give_way(BATCH)
    order.append("pass")
    turn.release()
    thread.join(5)
    other.join(5)
    turn.release()
    assert order == ["chat", "pass"]


def test_a_pass_keeps_a_third_of_the_time_beside_slow_chats_that_never_end() -> None:
    turn, is_over, seconds = Turn(), threading.Event(), 0.1

    def chat() -> None:
        while not is_over.is_set():
            with turn.held(CHAT):
                time.sleep(seconds)

    threads = [threading.Thread(target=chat, daemon=True) for _ in range(3)]
    turn.acquire(BATCH)
    for thread in threads:
        thread.start()
    started, own = time.monotonic(), 0.0
    while time.monotonic() - started < 2:
        time.sleep(0.005)
        own += 0.005
        turn.give_way(BATCH)
    whole = time.monotonic() - started
    is_over.set()
    turn.release()
    for thread in threads:
        thread.join(5)
    assert 0.25 < own / whole < 0.6
