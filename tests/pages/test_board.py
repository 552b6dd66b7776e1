"""The Compare tab without a server: board, words, marks and exports."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from engine.catalog import Model
from engine.compare import Lane, LaneBegan, LaneEnded, LaneGrounded, LanePiece, LaneResult, LaneWaits, Note
from engine.messages import Sampling
from engine.prompts import styles
from pages import render
from pages.board import Board, LaneView, Turn, apply, begin, chat, history
from pages.export import as_csv, as_json, as_markdown, cell, fenced
from pages.fairness import fairness
from pages.lane_sources import sources
from pages.preview import Asked, preview, told
from rag.collection import passage
from rag.lane import Documents
from rag.types import Chunk, Hit

BASE = Model("starter", "somewhere")
TUNED = Model("starter-shawgpt", "somewhere", adapter=Path("nowhere"))


def result(text: str = "yes", **changes) -> LaneResult:
    made = LaneResult("starter", text, 12, 2.0, 0.5, "stop", prompt="<plain> hi", prompt_tokens=4)
    return replace(made, **changes)


def finished(*results: LaneResult, prompt: str = "hi") -> Board:
    board = Board(shown=len(results))
    for place, one in enumerate(results):
        board = begin(board, place, Lane(BASE), prompt)
        board = apply(board, LaneEnded(place, one))
    return board


def test_events_bring_a_lane_from_waiting_to_its_end():
    board = begin(Board(), 0, Lane(BASE), "hi")
    assert "waiting for its turn" in render.foot(board.lanes[0])
    board = apply(board, LaneWaits(0, "loading the weights"))
    assert "loading the weights…" in render.foot(board.lanes[0])
    board = apply(board, LaneBegan(0, "<plain> hi", 4, 0))
    assert "reading the prompt…" in render.foot(board.lanes[0])
    board = apply(apply(board, LanePiece(0, "a", 1)), LanePiece(0, " b", 2))
    assert board.lanes[0].ask.text == "a b" and board.busy
    assert "2 tokens so far" in render.foot(board.lanes[0])
    board = apply(board, LaneEnded(0, result("a b")))
    assert not board.busy and board.lanes[0].last.result.text == "a b"
    assert board.lanes[1] == LaneView(), "another lane changed"


def test_event_for_a_lane_that_is_not_running_changes_nothing():
    board = Board()
    assert apply(board, LanePiece(0, "late", 1)) is board


def test_notes_are_shown_once():
    note = Note("Lanes 1 and 2 are the same weights.")
    board = apply(apply(Board(), note), note)
    assert board.notes == (note.text,)
    assert 'class="note"' in fairness(board)


def test_stats_line_tells_times_speed_and_why_in_words():
    line = render.stats_line(result())
    assert line == "first word 0.50 s · 12 tokens · 7.3 tokens/s · 2.00 s · finished by itself"
    assert render.stats_line(result(tokens=1, end="length")).split(" · ")[1:] == [
        "1 token", "2.00 s", "reached the token limit",
    ]  # fmt: skip
    assert "no word" in render.stats_line(result(tokens=0, first_token_seconds=None, end="stopped"))


def test_retry_replaces_the_last_turn_and_is_marked():
    board = finished(result("first"), result())
    board = begin(board, 0, Lane(BASE), "hi", retries=1)
    assert board.lanes[0].turns == ()
    board = apply(board, LaneEnded(0, result("second", seed=1)))
    assert len(board.lanes[0].turns) == 1
    assert "retried, seed 1" in render.foot(board.lanes[0])
    assert "different seeds (0, 1)" in fairness(board)


def test_history_leaves_failed_and_silent_turns_out():
    turns = (
        Turn("one", Lane(BASE), result("answer one")),
        Turn("two", Lane(BASE), result("", error="broke")),
        Turn("three", Lane(BASE), result("  ")),
        Turn("four", Lane(BASE), result("answer four")),
    )
    said = [(m.role, m.content) for m in history(LaneView(BASE, turns))]
    assert said == [("user", "one"), ("assistant", "answer one"), ("user", "four"), ("assistant", "answer four")]
    assert len(history(LaneView(BASE, turns), without_last=True)) == 2


def test_chat_passes_indentation_on_untouched():
    code = "def f():\n    return 1\n"
    view = finished(result(code)).lanes[0]
    assert chat(view)[1] == {"role": "assistant", "content": [{"type": "text", "text": code}]}


def test_the_prompt_is_shown_as_it_was_typed():
    view = finished(result("a"), prompt="<b>x</b>\n  *y*").lanes[0]
    assert chat(view)[0]["content"][0]["text"] == "&#60;b&#62;x&#60;/b&#62;\n&nbsp;&nbsp;&#42;y&#42;"
    assert history(view)[0].content == "<b>x</b>\n  *y*"


def test_answers_of_a_model_that_was_changed_begin_with_its_name():
    turns = (Turn("one", Lane(BASE), result("first")), Turn("two", Lane(TUNED), result("second")))
    said = [message["content"][0]["text"] for message in chat(LaneView(TUNED, turns))]
    assert said == ["one", f"*{BASE.name}*\n\nfirst", "two", f"*{TUNED.name}*\n\nsecond"]
    assert [message["content"][0]["text"] for message in chat(LaneView(BASE, turns[:1]))] == ["one", "first"]


def test_a_very_long_prompt_is_shortened_on_the_page_only():
    view = finished(result("a"), prompt="x" * 100_000).lanes[0]
    assert len(chat(view)[0]["content"][0]["text"]) < 2100
    assert "(100,000 characters in all)" in chat(view)[0]["content"][0]["text"]
    assert len(history(view)[0].content) == 100_000


def test_everything_shown_is_escaped():
    bad = "<script>alert(1)</script>"
    board = replace(finished(result(bad, prompt=bad), result("x", prompt=bad)), notes=(bad,), diff=True)
    failed = finished(result(error=bad)).lanes[0]
    named = LaneView(Model(bad, bad, endpoint="http://x"))
    shown = fairness(board) + render.difference(board, 1) + render.foot(failed) + render.head(0, named)
    assert "<script" not in shown and shown.count("&lt;script&gt;") >= 5


def test_difference_marks_words_both_ways():
    assert render.diff_html("I like big dogs", "I love big cats") == (
        "I <del>like </del><ins>love </ins>big <del>dogs</del><ins>cats</ins>"
    )
    assert "same, word for word" in render.diff_html("a b", "a b")
    assert render.diff_html("", "new") == "<ins>new</ins>"


def test_chance_words_between_long_changes_are_not_kept():
    marked = render.diff_html("one two three four the five six seven", "A B C D the E F G")
    assert marked == "<del>one two three four the five six seven</del><ins>A B C D the E F G</ins>"


def test_difference_waits_until_both_lanes_are_done():
    board = replace(finished(result("a"), result("b")), diff=True)
    assert render.difference(board, 0) == ""
    assert "<ins>b</ins>" in render.difference(board, 1)
    assert render.difference(begin(board, 0, Lane(BASE), "again"), 1) == ""


def test_fairness_names_prompts_seeds_adapters_and_cuts():
    board = finished(result(), result(adapter="abc123", logit_difference=4.5, cut_tokens=3))
    shown = fairness(board)
    assert "same rendered prompt" in shown and "same seed (0)" in shown
    assert "abc123" in shown and "by up to 4.50" in shown
    assert "lane 2: the first 3 tokens of the prompt did not fit" in shown
    assert "All lanes, 4 tokens" in shown and "&lt;plain&gt; hi" in shown
    idle = fairness(finished(result(), result(adapter="abc123", logit_difference=0.0)))
    assert "changes nothing" in idle
    differ = fairness(finished(result(), result(prompt="other")))
    assert "different rendered prompts" in differ and "Lane 1" in differ and "Lane 2" in differ


@pytest.mark.parametrize("error", [None, "It broke."])
def test_cut_prompt_is_told_even_where_one_lane_alone_answered(error: str | None):
    said = fairness(finished(result(cut_tokens=96_000), result(error=error or "It broke too.")))
    assert "lane 1: the first 96,000 tokens of the prompt did not fit" in said and "same seed" not in said
    assert "lane 1: the first 3 tokens" in fairness(finished(result(cut_tokens=3, error=error or "It broke.")))


def test_other_sampling_is_told_even_with_the_same_seed():
    board = begin(finished(result(), result()), 1, Lane(BASE, sampling=Sampling(temperature=0)), "hi")
    board = apply(board, LaneEnded(1, result()))
    assert "different sampling settings" in fairness(board)


def test_status_tells_each_lane_in_tens():
    board = begin(finished(result(), result()), 1, Lane(BASE), "hi")
    board = apply(apply(board, LaneBegan(1, "", 1, 0)), LanePiece(1, "x", 47))
    assert render.status(board) == "Lane 1 done, lane 2: 40 tokens"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "  ="])
def test_cells_cannot_be_formulas(start: str):
    assert cell(f"{start}1+1") == f"'{start}1+1"


def test_every_prompt_style_has_a_preview():
    for name in styles():
        shown = preview([Asked(name, told("Be <brief>.", (), "hi & bye"))])
        assert "<brief>" not in shown
        assert "hi &amp; bye" in shown or name == "chat"


def test_numbers_in_csv_stay_numbers():
    assert cell(-0.5) == -0.5
    board = finished(result("=1+1", logit_difference=-0.5), result('a\r\nb,c"d'))
    rows = list(csv.DictReader(io.StringIO(as_csv(board), newline="")))
    assert [row["answer"] for row in rows] == ["'=1+1", 'a\r\nb,c"d']
    assert rows[0]["logit_difference"] == "-0.5" and rows[0]["seconds"] == "2.0"


def test_json_holds_the_raw_answers_and_no_key():
    board = apply(begin(Board(), 0, Lane(BASE, key="sk-secret"), "hi"), LaneEnded(0, result("=1+1\n  x")))
    text = as_json(board)
    assert json.loads(text)["results"][0]["answer"] == "=1+1\n  x"
    for made in (text, as_csv(board), as_markdown(board)):
        assert "sk-secret" not in made


def test_markdown_fence_is_longer_than_any_in_the_answer():
    assert fenced("a\n````\nb").startswith("`````\n")
    page = as_markdown(finished(result("```x```"), result("ok", error="It broke.")))
    assert "## Prompt 1" in page and "````\n```x```\n````" in page and "It broke." in page


def test_exports_put_answers_under_the_prompt_they_answer():
    board = finished(result("one, first"), result("two, first"), prompt="FIRST")
    board = replace(board, shown=3)
    for place in range(3):
        board = begin(board, place, Lane(BASE), "SECOND", number=board.sent + (place == 0))
        board = apply(board, LaneEnded(place, result(f"{place + 1}, second")))
    first, second = as_markdown(board).split("## Prompt 2")
    assert "FIRST" in first and "SECOND" not in first and "Lane 3" not in first and "FIRST" not in second
    assert (
        second.index("1, second") < second.index("2, second") < second.index("### Lane 3") < second.index("3, second")
    )
    rows = json.loads(as_json(board))["results"]
    assert [(row["turn"], row["lane"]) for row in rows] == [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3)]
    table = list(csv.DictReader(io.StringIO(as_csv(board), newline="")))
    assert [row["turn"] for row in table if row["lane"] == "3"] == ["2"]


HIT = Hit(Chunk("c1", "papers/<b>.pdf", 1, (), 3, "iv", 3, 0, 20, "Fat tails are rare events."), 0.7, 1, cosine=0.71)


class Held(Documents):
    """Documents that hold one hit on everything."""

    def hits(self, question: str) -> tuple[Hit, ...]:
        return (HIT,)


def grounded(place: int = 1, refusal: str = "", text: str = "Rare [1]. See [4].", **changes) -> Board:
    """A board on which every lane answered, and one of them read documents."""
    board = begin(finished(result(), result()), place, Lane(BASE, passages=Held("papers")), "Why rare?")
    told = LaneGrounded(place, () if refusal else (passage(HIT),), refusal, "Why are fat tails rare?")
    said = result(refusal or text, prompt="<plain> [1] Fat tails", **changes)
    return apply(apply(board, told), LaneEnded(place, said))


def test_grounded_lane_shows_its_sources_and_checked_marks():
    board = begin(finished(result(), result()), 1, Lane(BASE, passages=Held("papers")), "Why rare?")
    assert sources(board.lanes[1]) == ""
    board = apply(board, LaneGrounded(1, (passage(HIT),), question="Why are fat tails rare?"))
    assert "1 passage of “papers”" in sources(board.lanes[1])
    board = apply(board, LanePiece(1, "Rare [1]. See [4] and [", 5))
    assert chat(board.lanes[1])[-1]["content"][0]["text"] == "Rare [1]. See and ["
    board = apply(board, LaneEnded(1, result("Rare [1]. See [4].")))
    assert board.lanes[1].last.text == "Rare [1]. See." and board.lanes[1].last.result.text == "Rare [1]. See [4]."
    shown = sources(board.lanes[1])
    assert "papers/&lt;b&gt;.pdf" in shown and "page iv (4 in the file)" in shown and "0.710" in shown
    assert 'data-cited="yes"' in shown and "1 mark that pointed to no passage was taken out." in shown
    assert "Searched for: Why are fat tails rare?" in shown
    assert history(board.lanes[1])[-1].content == "Rare [1]. See."
    assert sources(board.lanes[0]) == ""


def test_fairness_names_the_passages_as_the_reason_only_where_they_are():
    said = fairness(grounded())
    assert "the rendered prompts differ because lane 2 reads 1 passage of “papers”" in said
    board = begin(grounded(), 0, Lane(BASE, style="chat"), "Why rare?")
    said = fairness(apply(board, LaneEnded(0, result(prompt="<chat> Why rare?"))))
    assert "different rendered prompts: see below; lane 2 reads 1 passage of “papers”" in said
    board = begin(grounded(), 0, Lane(BASE, passages=Held("papers")), "Why rare?")
    board = apply(board, LaneGrounded(0, (passage(HIT),), question="Why are fat tails rare?"))
    said = fairness(apply(board, LaneEnded(0, result(prompt="<plain> [1] Fat tails"))))
    assert "same rendered prompt, in which lane 1 reads 1 passage of “papers”, lane 2 reads" in said


def test_lane_with_nothing_to_read_says_that_its_model_was_not_asked():
    board = grounded(refusal="The documents do not say.", adapter="abc123")
    assert board.lanes[1].last.text == "The documents do not say." and sources(board.lanes[1]) == ""
    assert "the model was not asked" in render.foot(board.lanes[1])
    said = fairness(board)
    assert "lane 2: nothing in “papers” comes near, its model was not asked" in said
    assert "same rendered prompt" in said and "abc123" not in said and "All lanes" in said


def test_exports_carry_what_was_read():
    row = json.loads(as_json(grounded()))["results"][-1]
    assert (row["collection"], row["searched_for"]) == ("papers", "Why are fat tails rare?")
    assert (row["answer"], row["checked_answer"]) == ("Rare [1]. See [4].", "Rare [1]. See.")
    source = {"number": 1, "file": "papers/<b>.pdf", "page": "iv", "cosine": 0.71, "cited": True}
    assert row["sources"] == [source | {"text": "Fat tails are rare events."}] and row["removed_marks"] == 1
    assert "- [1] `papers/<b>.pdf`, page iv, cosine 0.71, cited" in as_markdown(grounded())
    assert "papers/<b>.pdf" in as_csv(grounded())
