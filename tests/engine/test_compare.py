"""Comparisons over real weights: the same prompt for all, one lane's trouble its own, stop, follow-up, proof."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.catalog import Model
from engine.compare import Comparison, Lane, LaneBegan, LaneEnded, LanePiece, LaneResult, Note
from engine.errors import Problem
from engine.messages import Message, Sampling
from engine.settings import ROOT
from tests.engine.comparing import GREEDY, base_and_two, lanes, results
from tests.engine.rows import network, save_adapter
from tests.fake_openai import FakeOpenAI, words
from tests.tiny import make_tiny_llama


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """A base, two adapters on it, an adapter for another base, a folder that is no model, and one that never ends."""
    folder = tmp_path_factory.mktemp("compare")
    made = base_and_two(folder)
    save_adapter(network(hidden_size=128), folder / "foreign", r=4, target_modules="all-linear")
    (folder / "empty").mkdir()
    endless = str(make_tiny_llama(folder / "endless", hidden=64, layers=3, context=16_384))
    return made | {
        "foreign": Model(name="foreign", base=made["base"].base, adapter=folder / "foreign"),
        "empty": Model(name="empty", base=str(folder / "empty")),
        "endless": Model(name="endless", base=endless),
    }


@pytest.fixture(autouse=True)
def _own_pool(empty_pool: object) -> Iterator[None]:
    yield


def test_base_and_tuned_get_the_same_prompt_and_differ_by_proof(models: dict[str, Model]) -> None:
    base, one, two = results(Comparison(lanes(models, "base", "one", "two", style="inst"), "Why?"))
    assert base.prompt == one.prompt == two.prompt == "[INST] Why? [/INST]"
    assert base.prompt_tokens == one.prompt_tokens > 0
    assert (base.adapter, base.logit_difference) == (None, None)
    assert len(one.adapter) == 12 and one.adapter != two.adapter
    assert one.logit_difference > 0.001 and two.logit_difference > 0.001
    assert all(
        r.tokens == 24 and r.end == "length" and r.seconds >= r.first_token_seconds > 0 for r in (base, one, two)
    )


def test_lanes_together_answer_as_each_does_alone(models: dict[str, Model]) -> None:
    together = results(Comparison(lanes(models, "base", "one", "two"), "The cat sat on"))
    alone = [results(Comparison(lanes(models, name), "The cat sat on"))[0] for name in ("base", "one", "two")]
    assert [r.text for r in together] == [r.text for r in alone]
    assert len({r.text for r in together}) == 3


def test_pieces_join_to_the_result_and_begin_comes_first(models: dict[str, Model]) -> None:
    events = list(Comparison(lanes(models, "base", "one"), "The dog"))
    for lane in (0, 1):
        mine = [event for event in events if getattr(event, "lane", None) == lane]
        kinds = [type(event) for event in mine]
        assert kinds.index(LaneBegan) < kinds.index(LanePiece) and kinds[-1] is LaneEnded
        assert "".join(e.text for e in mine if isinstance(e, LanePiece)) == mine[-1].result.text


@pytest.mark.parametrize("bad", ["foreign", "empty"])
def test_a_lane_that_fails_leaves_the_others_alone(models: dict[str, Model], bad: str) -> None:
    good, failed, also_good = results(Comparison(lanes(models, "base", bad, "one"), "The cat"))
    assert good.tokens == also_good.tokens == 24 and good.error is None
    assert failed.end == "error" and failed.error and "Traceback" not in failed.error


def test_stopping_one_lane_keeps_its_words_and_the_others_going(models: dict[str, Model]) -> None:
    long = Sampling(temperature=0, max_tokens=300)
    comparison = Comparison(lanes(models, "base", "one", sampling=long), "The cat")
    ended = {}
    for event in comparison:
        if isinstance(event, LanePiece) and event.lane == 0 and event.tokens >= 5:
            comparison.stop(0)
        if isinstance(event, LaneEnded):
            ended[event.lane] = event.result
    assert ended[0].end == "stopped" and 5 <= ended[0].tokens < 300 and ended[0].text
    assert ended[1].end == "length" and ended[1].tokens == 300


@pytest.mark.parametrize("how", ["closed", "forgotten", "stopped"])
def test_leaving_takes_all_rows_out_within_a_second(models: dict[str, Model], empty_pool: object, how: str) -> None:
    endless = Sampling(temperature=0, max_tokens=15_000)  # which take half a minute
    with empty_pool.hold(models["endless"]) as base:
        comparison = Comparison(lanes(models, "endless", "endless", sampling=endless), "The cat")
        events = iter(comparison)
        while not (isinstance(next(events), LanePiece) and len(base.loop.rows) == 2):
            pass
        began = time.perf_counter()
        if how == "closed":
            events.close()
        elif how == "forgotten":
            del events
        else:
            comparison.stop()
        while base.loop.rows and time.perf_counter() - began < 1:
            time.sleep(0.005)
        assert not base.loop.rows, "rows went on when nobody read them any more"
        assert base.loop.steps < 15_000 - 1


def test_stop_before_the_weights_are_loaded_ends_all_lanes(models: dict[str, Model]) -> None:
    comparison = Comparison(lanes(models, "base", "one"), "The cat")
    comparison.stop()
    assert {r.end for r in results(comparison)} == {"stopped"}


def test_follow_up_turns_carry_each_lanes_own_history(models: dict[str, Model]) -> None:
    histories = [[Message("user", "Hi"), Message("assistant", f"I am {name}.")] for name in ("base", "one")]
    base, one = results(Comparison(lanes(models, "base", "one", style="question-answer"), "And?", histories))
    assert base.prompt == "Q: Hi\nA: I am base.\nQ: And?\nA:" and "I am one." in one.prompt


def test_styles_systems_and_sampling_belong_to_a_lane(models: dict[str, Model]) -> None:
    chosen = [
        Lane(models["base"], "plain", "", GREEDY),
        Lane(models["base"], "chat", "Be kind.", Sampling(temperature=0, max_tokens=3)),
    ]
    plain, chat = results(Comparison(chosen, "Hi"))
    assert plain.prompt == "Hi" and "<|system|>Be kind." in chat.prompt and chat.prompt.endswith("<|assistant|>")
    assert (plain.tokens, chat.tokens) == (24, 3)


def test_two_visitors_at_once_do_not_see_each_other(models: dict[str, Model]) -> None:
    first = Comparison(lanes(models, "base", "one"), "The cat")
    second = Comparison(lanes(models, "base", "two"), "What is the name")
    first.stop()
    expected = results(Comparison(lanes(models, "base", "two"), "What is the name"))
    assert [r.text for r in results(second)] == [r.text for r in expected]
    assert {r.end for r in results(first)} == {"stopped"}


def test_the_same_weights_twice_are_noted_aloud(models: dict[str, Model]) -> None:
    twice = Comparison(lanes(models, "one", "base", "one"), "Hi")
    notes = [event.text for event in twice if isinstance(event, Note)]
    assert notes == ["Lanes 1 and 3 are the same weights, asked in the same way: their answers must be equal."]
    assert Comparison(lanes(models, "base", "one"), "Hi").notes == []


def test_a_prompt_beyond_the_context_is_cut_from_the_left_and_told(models: dict[str, Model]) -> None:
    result = results(Comparison(lanes(models, "base"), "word " * 20_000 + "the end"))[0]
    assert result.cut_tokens > 10_000 and result.error is None
    assert result.prompt_tokens == 512 - 24 and result.tokens == 24


def test_control_characters_and_lone_surrogates_do_no_harm(models: dict[str, Model]) -> None:
    result = results(Comparison(lanes(models, "base"), "a\x00b\x1b[31m\ud800\u202e end"))[0]
    assert result.error is None and result.tokens == 24


@pytest.mark.parametrize(
    ("prompt", "count", "told"), [("  \n", 2, "empty"), ("Hi", 9, "between 1 and 8"), ("Hi", 0, "between 1 and 8")]
)
def test_requests_that_cannot_be_served_are_told_at_once(
    models: dict[str, Model], prompt: str, count: int, told: str
) -> None:
    with pytest.raises(Problem, match=told):
        Comparison(lanes(models, *["base"] * count), prompt)


def test_wrong_sampling_is_told_with_its_lane(models: dict[str, Model]) -> None:
    chosen = [*lanes(models, "base"), Lane(models["base"], sampling=Sampling(top_p=3))]
    with pytest.raises(Problem, match="Lane 2: Top-p"):
        Comparison(chosen, "Hi")


def test_the_command_line_prints_one_object_a_lane(models: dict[str, Model]) -> None:
    command = [sys.executable, "-m", "engine.compare", "--prompt", "The cat", "--max-new-tokens", "5", "--json"]
    command += ["--lane", models["base"].base, "--lane", str(models["one"].adapter), "--seed", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    keys = ["model", "text", "tokens", "seconds", "first_token_seconds", "end", "adapter", "logit_difference"]
    assert [list(one) for one in printed] == [keys, keys]
    assert printed[1]["adapter"] == models["one"].adapter_hash and printed[1]["logit_difference"] > 0
    wrong = subprocess.run([*command[:3], "--prompt", " "], cwd=ROOT, capture_output=True, text=True, check=False)
    assert wrong.returncode == 2 and "empty" in wrong.stderr and "Traceback" not in wrong.stderr


def test_the_adapter_folder_is_hashed_by_its_weights(models: dict[str, Model]) -> None:
    assert Path(models["one"].adapter).is_dir()
    assert models["one"].adapter_hash != models["two"].adapter_hash


def drained_slowly(comparison: Comparison, beat: float) -> LaneResult:
    """The result of a comparison of one lane whose reader sleeps before every look."""
    events: list[object] = []
    while not comparison.done:
        time.sleep(beat)
        events += comparison.take(0)
    return next(event.result for event in events if isinstance(event, LaneEnded))


def test_a_slow_reader_sees_the_true_figures_of_a_fast_lane(models: dict[str, Model], empty_pool: object) -> None:
    with empty_pool.hold(models["base"]):
        began = time.perf_counter()
        comparison = Comparison(lanes(models, "base"), "The cat")
        while 0 not in comparison._working:
            time.sleep(0.001)
        assert comparison._working[0].over.wait(30)
        over = time.perf_counter() - began
        result = drained_slowly(comparison, 0.5)
    assert result.tokens == 24 and result.first_token_seconds < result.seconds <= over
    assert result.seconds - result.first_token_seconds > 0.001, "23 steps take longer than a look into the inbox"
    assert result.tokens_per_second == pytest.approx(23 / (result.seconds - result.first_token_seconds))


def test_a_slow_reader_sees_the_true_figures_of_a_hosted_lane() -> None:
    with FakeOpenAI(words("a", "b", "c", gap=0.15, counts=(3, 3))) as server:
        hosted = Model(name="far", base="m", endpoint=server.url)
        result = drained_slowly(Comparison([Lane(hosted)], "Hi"), 1.5)
    assert result.text == "abc" and result.seconds - result.first_token_seconds > 0.28
    assert result.tokens_per_second < 2 / 0.28
