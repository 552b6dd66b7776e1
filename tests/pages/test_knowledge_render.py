"""What the Knowledge tab shows, from made-up values: plans, reports, answers, sources, the histogram, the map."""

from __future__ import annotations

import re

from pages import knowledge_plots as plots
from pages import knowledge_render as render
from pages import knowledge_sources as sources
from pages import knowledge_talk as talks
from pages.knowledge_lines import cleaned
from pages.knowledge_plots import Dot, Star
from pages.knowledge_study import Study, Turn
from rag.render import Picture
from rag.types import Chunk, FileRecord, FileReport, Hit, Removed

EVIL = "<img src=x onerror=alert(1)>\"'"


def chunk(text: str = "Fat tails decide.", file: str = "a/tails.pdf", page: int = 3, label: str = "iv") -> Chunk:
    return Chunk(f"id-{file}", file, 1, ("a", "papers"), page, label, page, 0, len(text), text)


def hit(rank: int = 1, **changes: object) -> Hit:
    values = {"chunk": chunk(), "score": 0.03, "cosine": 0.51234, "vector_rank": 2, "keyword_rank": 1, **changes}
    return Hit(rank=rank, matched=("fat", "tails"), **values)  # type: ignore[arg-type]


def test_plan_says_what_will_be_done_and_how_long_it_takes():
    reports = [FileReport("a/x.pdf", "new", bytes=1_500_000), FileReport("b/x.pdf", "moved", moved_from="c/x.pdf"),
               FileReport("y.exe", "refused", reason="It is a program.")]  # fmt: skip
    html = render.plan(reports, 95)
    assert "3 files: 1 new, 1 moved, 1 refused. It takes about 2 min." in html
    assert "was c/x.pdf" in html and "It is a program." in html and "1.5 MB" in html
    assert "Nothing to do: 1 unchanged." in render.plan([FileReport("x", "same")], 0)
    assert "nothing to read" in render.plan([], 0)
    assert "<strong>1 file left out.</strong>" in render.plan([], 0, ["big.pdf: larger than the limit"])


def test_report_counts_pages_passages_and_what_went_wrong():
    reports = [
        FileReport("scan.pdf", "empty", pages=3, empty=3),
        FileReport("locked.pdf", "encrypted", encrypted=True),
        FileReport("good.md", "added", pages=2, chunks=5, removed=4, garbled=1),
    ]
    html = render.report(reports)
    assert "3 files: 1 added, 1 needs a password, 1 no text. 5 pages, 5 passages." in html
    assert "3 pages without text" in html and "give its password" in html and "1 page garbled" in html


def test_long_tables_are_cut_and_say_so():
    html = render.report([FileReport(f"{n}.md", "added") for n in range(1000)])
    assert html.count("<tr") == render.MOST_ROWS + 2 and "and 700 more" in html and "1,000 files" in html


def test_marks_become_buttons_only_where_there_is_a_passage():
    html = sources.answer("Tails [1], not [7], and [2].\n\nNew paragraph.", (1, 2))
    assert re.findall(r'data-cite="(\d)"', html) == ["1", "2"] and "[7]" in html and html.count("<p>") == 2
    assert 'class="pulse"' in sources.answer("so far", (), running=True)
    assert 'class="pulse"' in sources.answer("", (), running=True)


def test_source_says_where_it_stands_and_why_it_was_found():
    other = chunk(file="copy.pdf", page=0, label="1")
    html = sources.sources([hit(rerank=1.5, also=(other,))], cited=(1,), opened=1)
    assert "<strong>a/tails.pdf</strong>, page iv (4 in the file)" in html and "copy.pdf, page 1" in html
    assert "<b>Fat</b> <b>tails</b> decide." in html and 'data-cited="yes"' in html and 'aria-current="true"' in html
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", html))
    assert facts["Cosine to the question"] == "0.512" and facts["Rank by meaning"] == "2"
    assert facts["Rank by words"] == "1" and facts["Words in common"] == "fat, tails"
    assert facts["Score of the cross-encoder"] == "1.500"
    assert "not among them" in sources.sources([hit(keyword_rank=None)])


def test_passage_is_marked_in_the_text_and_the_picture_travels_along():
    text = "Before it. Fat tails decide. After it."
    assert "<mark>Fat tails decide</mark>" in sources.passage_view(chunk(), text, None)
    drawn = sources.passage_view(chunk(), text, Picture(b"png", 10, 20, ((1, 2, 3, 4),)), number=2)
    assert 'src="data:image/png;base64,cG5n"' in drawn and "2. a/tails.pdf" in drawn and 'data-boxes="1"' in drawn
    assert "could not be found again" in sources.passage_view(chunk(), text, Picture(b"", 1, 1, ()))


def test_words_of_people_files_and_models_are_escaped():
    evil = chunk(EVIL, EVIL, label=EVIL)
    record = FileRecord(1, EVIL, "h", 1, "pdf", 1, 1, (EVIL,), reason=EVIL, removed=(Removed(EVIL, EVIL, (0,)),))
    turn = Turn(EVIL, EVIL + "x", EVIL, notes=(EVIL,), model=EVIL, seconds=1.0)
    pages = [
        render.plan([FileReport(EVIL, EVIL, reason=EVIL, moved_from=EVIL)], 1, [EVIL]),
        render.report([FileReport(EVIL, EVIL, reason=EVIL)]),
        render.shelf([record]),
        cleaned(record, [EVIL], owner=True),
        render.told(EVIL),
        sources.answer(EVIL, (1,)),
        sources.sources([hit(chunk=evil, also=(evil,))]),
        sources.passage_view(evil, EVIL, None, EVIL),
        sources.passage_view(evil, EVIL, Picture(b"", 1, 1, ()), EVIL),
        talks.talk([turn]),
        talks.quarters(EVIL, [talks.Quarter(EVIL, EVIL, True, EVIL, line=EVIL)]),
        talks.quarters("", [talks.Quarter("", "", True, error=EVIL)]),
        plots.scatter([Dot(EVIL, 0, 0, 0, EVIL, EVIL, EVIL, 1)], Star(0, 1, 0, EVIL), EVIL),
    ]  # fmt: skip
    for page in pages:
        assert "<img src=x" not in page and "&lt;img" in page


def test_histogram_has_bars_hits_and_cutoff_at_their_places():
    edges, question, background = (0.0, 0.1, 0.2, 0.3, 0.4), (5, 10, 0, 1), (9, 3, 0, 0)
    svg = plots.cosine_histogram(edges, question, background, [0.38], 0.25)
    heights = [float(h) for h in re.findall(r'height="([\d.]+)"><title>', svg)]
    assert heights == [plots.HEIGHT / 2, plots.HEIGHT, plots.HEIGHT / 10]
    at = {name: float(x) for name, x in re.findall(r'class="(hit|limit)" d="M([\d.]+)', svg)}
    assert 0 < at["limit"] < at["hit"] < plots.WIDTH and "cutoff 0.25" in svg and "hit 1: 0.380" in svg
    assert plots.cosine_histogram((0.0, 1.0), (0,), (0,), [], 0.2) == "", "an empty collection has no histogram"


def test_map_holds_every_dot_the_hits_and_the_question():
    dots = [Dot(f"id{n}", n, -n, 0, f"f{n % 12}", f"t{n}", "x" * 900, n + 1 if n < 2 else None) for n in range(40)]
    svg = plots.scatter(dots, Star(39, 0, 0, "why?"), "file")
    assert len(re.findall(r"data-id=", svg)) == 40 and svg.count('class="found"') == 2 and 'class="star"' in svg
    places = [float(x) for x in re.findall(r'cx="([\d.-]+)"', svg)]
    assert all(plots.EDGE - 1 <= x <= plots.SIDE for x in places) and "x" * 400 not in svg
    assert "3 more" in svg and "data-deep" not in svg and "data-deep" in plots.scatter(dots, None, "file", deep=True)
    assert "no passages" in plots.scatter([], None, "file")
    assert plots.scatter([Dot("one", 5, 5, 5, "f", "t", "x")], None, "file"), "a single passage has no extent"


def test_another_collection_begins_another_talk():
    study = Study()
    study.choose("a")
    study.begin(Turn("q", running=True))
    assert study.busy
    stopping = study.stopping
    study.choose("b")
    assert not study.turns and stopping.is_set() and not study.busy
