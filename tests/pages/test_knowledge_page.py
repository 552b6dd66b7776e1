"""The Knowledge tab without a browser: collections, plans, jobs, answers, endpoints, and who may do what."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from engine import jobs
from engine.errors import Problem
from engine.messages import Begin, End, Message, Piece, Sampling
from pages import knowledge_add as add
from pages import knowledge_ask as asking
from pages import knowledge_map as maps
from pages import knowledge_measure as measuring
from pages import knowledge_mend as mending
from pages import knowledge_shelf as shelves
from pages import upload
from pages.knowledge_open import collection_of
from pages.knowledge_study import Study
from pages.launch import Launch
from pages.parts import visitor
from rag import answer, sample
from rag import job as adding
from rag.opened import forgotten
from rag.store import Store
from tests.pages.adding import Hands, hands  # noqa: F401 - fixture
from tests.pages.papers import pdf
from tests.pages.scripted import serving

LOCAL, DEMO = Launch(), Launch(open_demo=True)
PATIENCE = 240  # seconds for a process on a busy machine
HOW = ["strict", "both", 3, True, None, [], False]  # form, mode, k, own cutoff, cutoff, tags, rerank
WITH, WITHOUT = ["with", "starter", "", *HOW], ["without", "starter", "", *HOW]


def request(launch: Launch = LOCAL) -> gr.Request:
    return gr.Request(SimpleNamespace(scope={"diptych.launch": launch}), session_hash="session")


def event(**data: object) -> gr.EventData:
    return gr.EventData(None, data)


class Says:
    """A model that always says the same, word by word."""

    def __init__(self, text: str, fails: bool = False):
        self.text, self.fails, self.asked = text, fails, []

    def reply(
        self, messages: Sequence[Message], sampling: Sampling, tools: Sequence[dict] = ()
    ) -> Generator[Begin | Piece | End]:
        self.asked.append(messages[-1].content)
        yield Begin(messages[-1].content)
        for word in self.text.split(" "):
            yield Piece(f"{word} ")
            if self.fails:
                raise Problem("The scripted model broke off.")
        yield End("stop")


def speaking(monkeypatch: pytest.MonkeyPatch, text: str, fails: bool = False) -> Says:
    made = Says(text, fails)
    monkeypatch.setattr(answer, "responder_for", lambda model, key=None: made)
    return made


@pytest.fixture(scope="module")
def read_sample() -> None:
    """The sample collection, read once."""
    sample.built()


@pytest.fixture
def herd(tmp_path: Path, hands: Hands) -> Iterator[Path]:  # noqa: F811
    """A folder of two notes of one name; collections called after it go afterwards."""
    folder = tmp_path / "herd"
    for name, text in (("horses", "A horse with stripes is a zebra."), ("yaks", "A shaved yak costs 17 crowns.")):
        (folder / name).mkdir(parents=True)
        (folder / name / "notes.md").write_text(text)
    yield folder
    for name in ("herd", "herd 2", "Herd of mine", "Elsewhere", "copy of herd"):
        if Store.folder_of(name):
            forgotten(name)
            Store.open(name).delete()


def jobs_of(study: Study) -> jobs.Job:
    found = add.watched(study)
    assert found is not None
    return found


def test_page_stands_before_torch_and_sample_is_offered_unread():
    study = Study()
    choice, headline, files, *_ = shelves.arrive(request(), study)
    assert study.collection == sample.NAME and (sample.TITLE, sample.NAME) in choice.choices
    assert "read on the first question" in headline or ("12 files" in headline and files)


def test_folder_is_planned_applied_asked_about_and_taken_away(herd: Path, monkeypatch: pytest.MonkeyPatch):
    study = Study()
    html, apply, _, gone = add.look_into(request(), study, str(herd), "", "")
    assert "2 files: 2 new." in html and "new collection, “herd”" in html and apply.visible and not gone.visible
    _, _, _, _, bar, clock, *_ = add.start(request(), study, "by hand", "", False)
    assert study.collection == "herd" and clock.active and "job-bar" in bar
    with pytest.raises(gr.Error, match="no plan to apply"):
        add.start(request(), study, "", "", False)
    job = jobs.wait(jobs_of(study), PATIENCE)
    assert job.state == "done", job.reason + job.log
    told, clock = add.look(request(), study)
    assert "2 files: 2 added" in told and f'data-over="{job.id}"' in told and not clock.active
    assert add.look(request(), study) == [gr.skip(), gr.skip()], "an unchanged job was sent again"
    assert add.look(request(DEMO), Study("herd")) == [gr.skip(), gr.skip()], "a visitor saw a job"
    with Store.open("herd") as store:
        assert {each.path for each in store.files()} == {"horses/notes.md", "yaks/notes.md"}
        assert store.tags() == ["by hand", "horses", "yaks"]

    said = speaking(monkeypatch, "A shaved yak costs 17 crowns [1]. Also [8].")
    *_, (box, talk, status, pane) = asking.send(request(), study, "What does a shaved yak cost?", *WITH)
    assert box == "" and 'data-cite="1"' in talk and "[8]" not in talk and "was taken out" in talk
    assert "yaks/notes.md" in pane and "cosines" in pane and "Answered" in status and "17 crowns" in said.asked[0]
    opened = asking.open_passage(request(), study, event(cite=1, turn=0))
    assert "<mark>A shaved yak costs 17 crowns</mark>" in opened and 'aria-current="true"' in opened
    for wrong in ({"cite": 7, "turn": 0}, {"cite": "x"}, {}, {"cite": 1, "turn": 99, "chunk": "../x"}):
        if wrong.get("cite") != 1:
            with pytest.raises(gr.Error, match="not there any more"):
                asking.open_passage(request(), study, event(**wrong))
    found = asking.explain(request(), study, "horses/notes.md", 1, *WITH)
    assert "number 2 of 2" in found and "yaks/notes.md" in found
    with pytest.raises(gr.Error, match="no passage of page 5"):
        asking.explain(request(), study, "horses/notes.md", 5, *WITH)

    html, apply, *_ = add.look_into(request(), study, str(herd), "", "")
    assert "Nothing to do: 2 unchanged." in html
    (herd / "yaks" / "notes.md").unlink()
    html, _, _, gone = add.look_into(request(), study, str(herd), "", "")
    assert "no longer in the folder" in html and gone.visible
    add.discard(request(), study)
    message, *_ = shelves.set_tags(request(), study, "yaks/notes.md", "winter, wool")
    assert "new tags" in message
    assert mending.look_at(request(), study, "yaks/notes.md")[0] == "winter, wool"
    shelves.remove(request(), study, "yaks/notes.md")
    shelves.rename(request(), study, "Herd of mine")
    assert study.collection == "Herd of mine"
    assert "0 hits" not in shelves.arrive(request(), study)[1]
    shelves.ask_first(request(), study)
    shelves.delete(request(), study)
    assert Store.folder_of("Herd of mine") is None and study.collection == sample.NAME


def test_cancel_ends_the_job_and_says_that_what_is_done_stays(herd: Path, hands: Hands):  # noqa: F811
    study = Study()
    hands.gate.clear()
    add.look_into(request(), study, str(herd), "", "")
    add.start(request(), study, "", "", False)
    told, _ = add.cancel(request(), study)
    hands.gate.set()
    job = jobs.wait(jobs_of(study), PATIENCE)
    assert job.state == "stopped", job.reason + job.log
    told, clock = add.look(request(), study)
    assert "What was added before the stop stays" in told and not clock.active
    with pytest.raises(gr.Error, match="Nothing is being added"):
        add.cancel(request(), study)


def test_nothing_near_enough_is_said_without_asking_the_model(read_sample, monkeypatch: pytest.MonkeyPatch):
    said, study = speaking(monkeypatch, "never said"), Study(sample.NAME)
    *_, (_, talk, _, pane) = asking.send(request(), study, "How do I knit a cable pattern for my cat?", *WITH)
    assert "The documents do not say." in talk and "Nothing reaches the cutoff" in pane and not said.asked
    assert "<details" in asking.open_passage(request(), study, event(cite=1, turn=0))


def test_without_documents_and_follow_up_and_new_talk(read_sample, monkeypatch: pytest.MonkeyPatch):
    said, study = speaking(monkeypatch, "Just words."), Study(sample.NAME)
    *_, (_, talk, _, pane) = asking.send(request(), study, "What is a fat tail?", *WITHOUT)
    assert said.asked == ["What is a fat tail?"] and "without the documents" in talk and "<ol" not in pane
    *_, (_, talk, _, pane) = asking.send(request(), study, "Why is it dangerous?", *WITH)
    assert "searched for: Why is fat tail dangerous?" in talk and "fat-tails.pdf" in pane
    empty, *_ = asking.clear(request(), study)
    assert not study.turns and "Ask a question" in empty


@pytest.mark.parametrize(
    ("question", "values", "sentence"),
    [
        (" ", WITH, "the box is empty"),
        ("x", ["sideways", *WITH[1:]], "Choose how to answer"),
        ("x", ["with", "no-such-model/at all", "", *HOW], "no-such-model"),
        ("x", ["with", "starter", "", "strict", "both", 99, True, None, [], False], "1 to 50"),
        ("x", ["with", "starter", "", "strict", "both", 3, False, None, [], False], "Write the lowest cosine"),
        ("x", ["with", "starter", "", "strict", "sniff", 3, True, None, [], False], "sniff"),
        ("x", ["four", "starter", "starter", *HOW], "differ"),
    ],
)
def test_bad_questions_cost_one_sentence_and_nothing_else(
    question: str, values: list, sentence: str, read_sample, monkeypatch: pytest.MonkeyPatch
):
    speaking(monkeypatch, "fine")
    study, boxes = Study(sample.NAME), []
    with pytest.raises(gr.Error) as caught:
        for shown in asking.send(request(), study, question, *values):
            boxes.append(shown[0])
    assert sentence in caught.value.message
    assert not study.turns and not study.busy and all(box == gr.skip() for box in boxes), "the question was lost"


def test_model_that_breaks_off_leaves_the_talk_as_it_was(read_sample, monkeypatch: pytest.MonkeyPatch):
    study = Study(sample.NAME)
    speaking(monkeypatch, "Fine.")
    list(asking.send(request(), study, "What is a fat tail?", *WITH))
    speaking(monkeypatch, "Half an answer", fails=True)
    with pytest.raises(gr.Error, match="broke off"):
        list(asking.send(request(), study, "What is LoRA?", *WITH))
    assert [turn.question for turn in study.turns] == ["What is a fat tail?"] and not study.busy


def test_stopped_answer_keeps_its_words(read_sample, monkeypatch: pytest.MonkeyPatch):
    speaking(monkeypatch, "One two three four five six")
    study = Study(sample.NAME)
    views = []
    for view in asking.send(request(), study, "What is a fat tail?", *WITH):
        views.append(view)
        if study.turns[-1].hits:
            asking.stop(request(), study)
    talk = views[-1][1]
    assert "Stopped by you." in talk and "One" in talk and not study.busy


def test_map_shows_every_passage_and_opens_one(read_sample):
    study = Study(sample.NAME)
    picture, lists = maps.draw(request(), study, "pca", "tag", False)
    with Store.open(sample.NAME) as store:
        chunks = store.chunks()
    assert picture.count("data-id=") == len(chunks) and "statistics" in picture and "Far from all others" in lists
    assert "data-deep" in maps.draw(request(), study, "tsne", "cluster", True)[0]
    chunk = next(each for each in chunks if each.file.endswith(".pdf"))
    assert "data:image/png" in maps.open_dot(request(), study, event(chunk=chunk.id))
    with pytest.raises(gr.Error, match="left the collection"):
        maps.open_dot(request(), study, event(chunk="nothing"))
    with pytest.raises(gr.Error, match="Choose how to draw"):
        maps.draw(request(), study, "umap", "file", False)


def test_measuring_fills_the_table_and_its_row_can_be_used(read_sample):
    text = '{"question": "What is a fat tail?", "file": "fat-tails.pdf"}\n{"question": "Odd?", "keywords": ["xyzzy"]}'
    *_, (html, choice) = measuring.run(request(), Study(sample.NAME), None, text, ["both", "keyword"], "1, 3")
    assert html.count("<tr><td>") == 4 and "found nothing for 1 question" in html and "Odd?" in html
    assert len(choice.choices) == 4 and choice.value == "both/1/256"
    assert measuring.use(request(), Study(sample.NAME), "keyword/3/256")[:2] == ["keyword", 3]
    for upload_path, words, modes, ks, sentence in (
        (None, "", ["both"], "1", "Upload a question file"),
        (None, text, [], "1", "at least one way"),
        (None, text, ["both"], "0", "between 1 and 50"),
        (None, "what?", ["both"], "1", "neither a JSON list"),
    ):
        with pytest.raises(gr.Error, match=sentence):
            list(measuring.run(request(), Study(sample.NAME), upload_path, words, modes, ks))
    with pytest.raises(gr.Error, match="Measure first"):
        measuring.use(request(), Study(sample.NAME), "sniff/3/256")


def test_sample_cannot_be_changed_and_names_are_kept_apart(herd: Path):
    study = Study(sample.NAME)
    for handler, arguments in ((shelves.rename, ("x",)), (shelves.ask_first, ()), (shelves.remove, ("x",))):
        with pytest.raises(gr.Error, match="stays as it is"):
            handler(request(), study, *arguments)
    with pytest.raises(gr.Error, match="comes along"):
        shelves.create(request(), study, "sample", "all-MiniLM-L6-v2", 256)
    with pytest.raises(gr.Error, match="between 32 and 8,192"):
        shelves.create(request(), study, "Elsewhere", "all-MiniLM-L6-v2", 3)
    shelves.create(request(), study, "Elsewhere", "all-MiniLM-L6-v2", 128)
    assert study.collection == "Elsewhere"
    with pytest.raises(gr.Error, match="already"):
        shelves.create(request(), study, "Elsewhere", "all-MiniLM-L6-v2", 128)
    with pytest.raises(gr.Error, match="no collection 'nowhere'"):
        shelves.choose(request(), study, "nowhere")


def done(study: Study) -> jobs.Job:
    """The job of a study, which must have ended well."""
    job = jobs.wait(jobs_of(study), PATIENCE)
    assert job.state == "done", job.reason + job.log
    return job


def put(folder: Path) -> Study:
    """A study with a collection of the folder's files."""
    study = Study()
    add.look_into(request(), study, str(folder), "", "")
    add.start(request(), study, "", "", False)
    done(study)
    return study


def test_collection_of_another_model_is_told_and_mended_by_the_offer(herd: Path, monkeypatch: pytest.MonkeyPatch):
    study = put(herd)
    assert not shelves.arrive(request(), study)[6].visible
    with pytest.raises(gr.Error, match="is sound again"):
        mending.accept(request(), study)
    with Store.open("herd") as store:
        store.save_settings(replace(store.settings, fingerprint="0" * 32))
    offer, sentence, model, length = shelves.arrive(request(), study)[6:]
    assert offer.visible and "was made with another all-MiniLM-L6-v2" in sentence and (model, length) == (
        "all-MiniLM-L6-v2", 256
    )  # fmt: skip
    assert "re-index" in mending.check(request(), study)
    told, bar, clock, tabs = mending.accept(request(), study)
    assert "is re-indexed with all-MiniLM-L6-v2" in told and tabs.selected == mending.DOCUMENTS
    assert "job-bar" in bar and clock is not None
    assert done(study).done["states"] == {"reindexed": 2}
    assert "re-indexing done in" in add.look(request(), study)[0]
    assert not shelves.arrive(request(), study)[6].visible and "is sound" in mending.check(request(), study)
    speaking(monkeypatch, "17 crowns [1].")
    *_, (_, _, _, pane) = asking.send(request(), study, "What does a shaved yak cost?", *WITH)
    assert "yaks/notes.md" in pane


def test_reindexing_with_other_passages_and_what_is_refused(herd: Path, hands: Hands):  # noqa: F811
    study = put(herd)
    for arguments, sentence in ((("", 256), "Choose the embedding model"), (("m", 3), "between 32 and 8,192")):
        with pytest.raises(gr.Error, match=sentence):
            mending.reindex(request(), study, *arguments)
    hands.gate.clear()
    mending.reindex(request(), study, "all-MiniLM-L6-v2", 64)
    for again in (lambda: mending.reindex(request(), study, "all-MiniLM-L6-v2", 64),
                  lambda: mending.keep_out(request(), study, "horse")):  # fmt: skip
        with pytest.raises(gr.Error, match="is being changed just now"):
            again()
    hands.gate.set()
    done(study)
    with Store.open("herd") as store:
        assert store.settings.chunk_tokens == 64 and store.count() == 2
    with pytest.raises(gr.Error, match="stays as it is"):
        mending.reindex(request(), Study(sample.NAME), "all-MiniLM-L6-v2", 256)
    for handler, arguments in ((mending.reindex, ("m", 256)), (mending.accept, ()), (mending.check, ()),
                               (mending.settle, (event(),)), (mending.keep_out, ("x",))):  # fmt: skip
        with pytest.raises(gr.Error, match="Visitors of an open demo may not"):
            handler(request(DEMO), Study("herd"), *arguments)


def test_a_model_that_is_not_on_this_machine_is_told_with_one_that_is(herd: Path):
    study = put(herd)
    with Store.open("herd") as store:
        store.save_settings(replace(store.settings, embedder="somebody/far-away", fingerprint="0" * 32))
    sentence = shelves.arrive(request(), study)[7]
    assert "somebody/far-away, is not on this machine" in sentence and "re-indexed with all-MiniLM-L6-v2" in sentence
    mending.accept(request(), study)
    done(study)
    with Store.open("herd") as store:
        assert store.settings.embedder == "all-MiniLM-L6-v2" and not shelves.arrive(request(), study)[7]


def test_damaged_index_is_told_where_the_collection_is_shown(herd: Path):
    study = put(herd)
    collection_of(study, visitor(request())).search("yak", 1)
    index = collection_of(study, visitor(request())).index
    assert index is not None and "made anew" not in shelves.arrive(request(), study)[1]
    folder = index.folder
    forgotten("herd")
    (folder / "state.json").write_text("{")
    collection_of(study, visitor(request())).search("yak", 1)
    assert "The index of &#x27;herd&#x27; cannot be read. It is made anew" in shelves.arrive(request(), study)[1]


def test_a_cleaned_line_is_put_back_and_given_to_cleaning_again(herd: Path, hands: Hands):  # noqa: F811
    for name in ("report", "other"):
        pages = [[f"Annual report, page {at}", f"Fact {chr(65 + at)} of {name}."] for at in range(4)]
        (herd / f"{name}.pdf").write_bytes(pdf(*pages))
    study = put(herd)
    _, cleaned = mending.look_at(request(), study, "report.pdf")
    assert "Annual report, page 0" in cleaned and 'data-act="keep"' in cleaned
    assert "data-line" not in mending.look_at(request(), Study(), "statistics/fat-tails.pdf")[1]

    def text(file: str) -> str:
        with Store.open("herd") as store:
            return store.text(file)

    line = "Annual report, page 0"
    told, bar, _ = mending.settle(request(), study, event(line=line, act="keep"))
    assert "stays in report.pdf" in told and "job-bar" in bar and "cleaning anew" not in told
    done(study)
    assert text("report.pdf").count("Annual report") == 4 and "Annual report" not in text("other.pdf")
    _, cleaned = mending.look_again(request(), study)
    assert "in this file" in cleaned and 'data-act="clean"' in cleaned and 'data-act="keep"' not in cleaned

    mending.settle(request(), study, event(line=line, act="clean"))
    done(study)
    assert "Annual report" not in text("report.pdf")
    mending.settle(request(), study, event(line=line, act="keep everywhere"))
    done(study)
    assert text("report.pdf").count("Annual report") == text("other.pdf").count("Annual report") == 4
    (herd / "later.pdf").write_bytes(pdf(*[[f"Annual report, page {at}", f"News {chr(65 + at)}."] for at in range(4)]))
    add.look_into(request(), study, str(herd), "", "")
    add.start(request(), study, "", "", False)
    done(study)
    assert text("later.pdf").count("Annual report") == 4, "a file that came later lost the line"
    for wrong in ({"line": "never there", "act": "keep"}, {"line": line, "act": "clean"}, {}):
        with pytest.raises(gr.Error, match="not there any more"):
            mending.settle(request(), study, event(**wrong))
    mending.settle(request(), study, event(line=line, act="clean everywhere"))
    done(study)
    assert "Annual report" not in text("later.pdf") + text("report.pdf")


def test_phrases_are_kept_out_of_the_files_that_are_here_already(herd: Path):
    study = put(herd)
    told, bar, _ = mending.keep_out(request(), study, "shaved yak\n\n")
    assert "1 line will be kept out. All files are cleaned anew." in told and "job-bar" in bar
    done(study)
    with Store.open("herd") as store:
        assert store.text("yaks/notes.md") == "" and "zebra" in store.text("horses/notes.md")
        assert store.settings.phrases == ("shaved yak",)


@pytest.fixture(scope="module")
def demo() -> Iterator[tuple[str, gr.Blocks]]:
    with serving("--open-demo", tabs=("Knowledge",)) as served:
        yield served


def test_visitors_ask_the_sample_alone(herd: Path, read_sample, demo: tuple[str, gr.Blocks]):
    Store.create("Elsewhere").close()
    stranger = visitor(request(DEMO))
    assert [name for _, name in shelves.names(stranger)] == [sample.NAME]
    with pytest.raises(Problem, match="no collection 'Elsewhere'"):
        collection_of(Study("Elsewhere"), stranger)
    refused = "Visitors of an open demo may not"
    for handler, arguments in (
        (shelves.create, ("x", "m", 256)), (shelves.delete, ()), (shelves.export, ()), (add.look_into, ("/", "", "")),
        (add.start, ("", "", False)), (add.cancel, ()),
    ):  # fmt: skip
        with pytest.raises(gr.Error, match=refused):
            handler(request(DEMO), Study(), *arguments)
    client = Client(demo[0], verbose=False)
    found = client.predict("What is a fat tail?", api_name="/search")
    assert found[0]["file"] == "statistics/fat-tails.pdf" and found[0]["page"] == 1
    for name, arguments in (("/add_documents", ("x", "/etc")), ("/search", ("x", "Elsewhere"))):
        with pytest.raises(AppError, match=r"may not add documents|no collection 'Elsewhere'"):
            client.predict(*arguments, api_name=name)
    assert httpx.get(f"{demo[0]}{upload.EXPORT}?name=sample").status_code == 403


def test_endpoints_add_search_ask_and_export_imports_again(herd: Path, page: tuple[str, gr.Blocks]):
    client = Client(page[0], verbose=False)
    (herd / "horses" / "protocol.pdf").write_bytes(pdf(["The zebra crossing protocol is by Ada Quill."]))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        for path in sorted(herd.rglob("*.*")):
            made.write(path, path.relative_to(herd).as_posix())
    batch = "0" * 31 + "7"
    address = f"{page[0]}{upload.ADDRESS}?batch={batch}&path=herd.zip"
    assert httpx.post(address, content=archive.getvalue(), headers={"x-diptych": "upload"}).status_code == 200
    run = client.predict("herd", "", batch, "from a zip", api_name="/add_documents")
    assert run["state"] == "done" and {each["file"] for each in run["files"]} == {
        "horses/notes.md", "horses/protocol.pdf", "yaks/notes.md"
    }  # fmt: skip
    assert not (upload.uploads() / batch).exists(), "the uploads of a finished job still lie there"
    found = client.predict("Who wrote the zebra crossing protocol?", "herd", 1, "vector", api_name="/search")
    assert [(each["file"], each["page"]) for each in found] == [("horses/protocol.pdf", 1)]
    told = client.predict("Who wrote the zebra crossing protocol?", "herd", api_name="/ask")
    assert told["sources"][0]["file"] == "horses/protocol.pdf" and told["answer"] and not told["refused"]
    with pytest.raises(AppError, match="Say what to add"):
        client.predict("herd", api_name="/add_documents")

    study = Study("herd")
    assert f'href=".{upload.EXPORT}?name=herd"' in shelves.export(request(), study)
    exported = httpx.get(f"{page[0]}{upload.EXPORT}?name=herd", timeout=60)
    assert exported.status_code == 200 and "attachment" in exported.headers["content-disposition"]
    forgotten("herd")
    Store.open("herd").delete()
    again = "0" * 31 + "8"
    sent = f"{page[0]}{upload.ADDRESS}?batch={again}&path=herd.zip"
    assert httpx.post(sent, content=exported.content, headers={"x-diptych": "upload"}).status_code == 200
    message, *_ = shelves.take_in(request(), study, event(batch=again))
    assert "is in" in message and study.collection == "herd" and adding.KIND == "ingest"
    with Store.open("herd") as store:
        assert len(store.files()) == 3
