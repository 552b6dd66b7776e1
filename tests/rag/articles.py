"""A folder of articles as a browser prints them: three short texts with all that a site puts around them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from tests.rag.papers import pdf

DEFINITION = (
    "Fat-tailedness is the degree to which the rarest members of a sample decide its sum, its mean and its spread. "
    "A single flood outweighs a hundred quiet years."
)
# none of this may be left in a passage
FURNITURE = (
    "Member-only", "Open in app", "min read", "Follow", "2.1K", "Published in", "Riverside Letters",
    "riverside.example", "rivers.org", "More from", "View list", "Curated by", "Why Bakers Count", "Socials",
    "The Ferry That Never", "Old Maps", "Walkers", "Book an hour", "https://", "9:15 AM",
)  # fmt: skip
TEXTS: dict[str, tuple[str, Sequence[str]]] = {
    "when the rare rules": (
        "When the Rare Rules",
        (
            "Insurers of river towns learn early that averages lie. Ten calm springs say nothing about the eleventh, "
            "and a table that was kept for a whole working life may still lack the one year that would have filled it. "
            "Who sells cover by the mean of what was seen sells it too cheaply, and learns so on the worst of days.",
            DEFINITION,
            "The opposite is a thin tail. Add the tallest person of a country to a crowd and its mean height hardly "
            "moves, since no height is a thousand times another. Shoe sizes, loaves of bread and hours of sleep are of "
            "this kind: each day is much like the last, and a short record is as good as a long one.",
            "Claims are not like heights. The largest claim of a decade may be larger than all others together, so "
            "that whoever leaves it out of a table has thrown away most of what the table was for. The old clerks knew "
            "this, and wrote the great floods into a book of their own with red covers.",
        ),
    ),
    "power laws without tears": (
        "Power Laws Without Tears",
        (
            "A power law says that the number of towns halves each time their size doubles, over and over again. The "
            "rule holds from market towns to capitals, and it is the same rule whether one counts houses or chimneys, "
            "which is why people say that such a law has no scale of its own.",
            "Its exponent is read off a plot with two logarithmic axes, where the points fall on a line. The estimate "
            "is better made by maximum likelihood, because the eye trusts the few large points too much. A handful of "
            "cities can turn the line by a quarter, and nobody would see it on the paper.",
            "Incomes, word counts and the sizes of fires follow such laws for a while, and then they bend. Where they "
            "bend is the more useful question: a forest ends somewhere, and so does every purse. What lies beyond "
            "that point must be told by the world and not by the law.",
        ),
    ),
    "four ways to weigh a tail": (
        "Four Ways to Weigh a Tail",
        (
            "The first way counts how fast the largest value grows with the number of values that were seen. Where it "
            "grows like the logarithm one may sleep well, and where it grows like a power of the number, each year "
            "will bring a new worst year for as long as anybody keeps the book.",
            "The second compares the mean of the whole with that of a half: where they never agree, look out. It "
            "needs no theory and can be done with a pencil, which is more than can be said of most ways, and it "
            "convinces a board of directors within the time that is set aside for tea.",
            "The third is kurtosis, which needs the fourth moment and is useless where that does not exist. Printed "
            "tables still carry it. The fourth looks at the mean excess over a threshold: if it rises with the "
            "threshold, the worst is yet to come, and a fat tail is the safer guess.",
        ),
    ),
}
CLOSING = (
    "That is all for today. The next letter tells how the ferrymen of the delta kept their books, how they wrote down "
    "the height of the water with knots in a rope, and why nobody believed them until the year of the long rain."
)


def articles(folder: Path) -> Path:
    """The folder, with a PDF for each of TEXTS."""
    for name, (title, paragraphs) in TEXTS.items():
        pdf(folder / f"{name}.pdf", printed(title, paragraphs))
    return folder


def printed(title: str, paragraphs: Sequence[str]) -> list[list[str]]:
    """The lines of an article's pages: head and foot, masthead, byline, text with a link's preview, other articles."""
    half = len(paragraphs) // 2 + 1
    top = ["Open in app", "", "Member-only story", "", "", title, "", "", "Jo Marsh", "Follow",
           "Published in Riverside Letters · 7 min read · Mar 3, 2023", "2.1K 34", ""]  # fmt: skip
    card = ["Why Bakers Count", "What a dozen teaches about samples", "rivers.org", ""]
    links = ["Resources", "", "Contact: My page | Book an hour | Ask me", "Socials: ClipSite | LinkSite | Chirper", ""]
    other = ["", "", 'More from the list: "Rivers"', "Curated by Jo Marsh", "View list", "The Ferry That Never",
             "Came Back", "· 6 min read · Jan 9, 2023", "Old Maps for New", "Walkers",
             "· 4 min read · May 2, 2022"]  # fmt: skip
    parts = [[*top, *wrapped(paragraphs[:half])], [*wrapped(paragraphs[half:]), *card, *wrapped([CLOSING]), *links],
             ["[1] B. Marsh (1999). On rivers. Journal of Water, 2, 5-9.", *other]]  # fmt: skip
    address = f"https://riverside.example/{title.lower().replace(' ', '-')}"
    return [
        [f"11/26/26, 9:15 AM {title}", "", *lines, "", f"{address} {at}/{len(parts)}"]
        for at, lines in enumerate(parts, start=1)
    ]


def wrapped(paragraphs: Sequence[str]) -> list[str]:
    """Paragraphs in lines as wide as a page, with a blank line behind each."""
    return [line for each in paragraphs for line in (*textwrap.wrap(each, 88), "")]
