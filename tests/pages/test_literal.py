from pages.literal import literal


def test_plain_words_stay_as_they_are():
    assert literal("What is fat-tailedness? It's 50 % of 2.5 (see below).") == (
        "What is fat-tailedness? It's 50 % of 2.5 (see below)."
    )


def test_signs_of_markdown_html_and_formulas_are_written_by_their_numbers():
    shown = literal("<b>x</b> **y** `z` [a](b) ![c](http://d/e.png) $$f$$ a_b a|b ~~g~~ &lt; \\")
    assert not set("<>*`[]$_|~\\") & set(shown) and "http://" not in shown
    assert "&#60;b&#62;x&#60;/b&#62;" in shown and "&#38;lt;" in shown


def test_lines_that_would_begin_something_begin_nothing():
    for text in ("# title", "- item", "+ item", "---", "===", "1. one", "12) two", "> said"):
        first = literal(text).lstrip("0123456789")
        assert first.startswith("&#"), text


def test_indentation_blank_lines_and_control_characters_are_seen():
    assert literal(
        "def f():\n    return  1\n\n\tend"
    ) == "def f():\n&nbsp;&nbsp;&nbsp;&nbsp;return&nbsp; 1\n&nbsp;\n" + ("&nbsp;" * 4 + "end")
    assert literal("a\x00b\x1b[0m") == "a\u2400b\u241b&#91;0m"
