"""What is too far from a question: a cutoff from the collection's own distribution, and its histogram.

Questions on everyday things (assets/grounding/elsewhere.txt) are put to the collection. How near they come to it
although it does not answer them is what chance gives with this embedder and these documents; the cutoff lies there.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.settings import ASSETS
from rag.embedders import Embedder
from rag.storing import place

if TYPE_CHECKING:
    import numpy as np

SHARE = 0.95  # of the questions about something else stay below the cutoff; the rest may touch the theme
SAMPLE = 2000  # chunks that stand for all of them in a histogram
BINS = 60
RANGE = (-0.3, 1.0)  # cosines outside are counted at the ends


@dataclass(frozen=True)
class Calibration:
    """The cutoff of a collection, and where it comes from: `best` is each elsewhere question's nearest cosine.

    `background` counts the cosines between those questions and the chunks in bins of RANGE.
    """

    cutoff: float
    best: tuple[float, ...] = ()
    background: tuple[int, ...] = ()


@dataclass(frozen=True)
class Distribution:
    """Two histograms over the same bins: chunks against questions about something else, and against this one.

    `edges` has one number more than the counts. `hits` are the cosines of what was found, best first.
    """

    edges: tuple[float, ...]
    background: tuple[int, ...]
    question: tuple[int, ...]
    cutoff: float
    hits: tuple[float, ...] = ()


@functools.cache
def elsewhere() -> tuple[str, ...]:
    """Questions on everyday things that few collections answer."""
    text = (ASSETS / "grounding" / "elsewhere.txt").read_text(encoding="utf-8")
    return tuple(line.strip() for line in text.splitlines() if line.strip())


@functools.lru_cache(maxsize=4)
def elsewhere_vectors(model: Embedder) -> np.ndarray:
    """Unit vectors of those questions, float32 of shape (questions, dimension); kept in the home folder."""
    import numpy as np

    content = hashlib.sha256("\n".join((model.query_prefix, *elsewhere())).encode()).hexdigest()[:12]
    path = place.knowledge_folder() / f".elsewhere-{model.fingerprint}-{content}.npy"
    with contextlib.suppress(OSError, ValueError, EOFError):
        kept = np.load(path, allow_pickle=False)
        if kept.shape == (len(elsewhere()), model.dimension):
            return kept
    made = np.stack([model.embed_query(text) for text in elsewhere()])
    new = path.with_name(f"{path.name}.{os.getpid()}.npy")
    np.save(new, made)
    new.replace(path)
    return made


def calibrated(model: Embedder, search: Callable[[np.ndarray], float], sample: np.ndarray) -> Calibration:
    """The cutoff of a collection; `search` gives the nearest cosine of a vector, `sample` holds vectors of chunks."""
    import numpy as np

    if not len(sample):
        return Calibration(0.0)
    questions = elsewhere_vectors(model)
    best = sorted(search(vector) for vector in questions)
    return Calibration(float(np.quantile(best, SHARE)), tuple(best), counted(sample @ questions.T))


def counted(cosines: np.ndarray) -> tuple[int, ...]:
    """How many cosines lie in each bin of RANGE."""
    import numpy as np

    return tuple(int(n) for n in np.histogram(np.clip(cosines, *RANGE), BINS, RANGE)[0])


def distribution(
    made: Calibration, cutoff: float, vector: np.ndarray, sample: np.ndarray, hits: Sequence[float]
) -> Distribution:
    """The histogram that shows a question's hits among everything else."""
    import numpy as np

    edges = tuple(float(edge) for edge in np.linspace(*RANGE, BINS + 1))
    question = counted(sample @ vector) if len(sample) else (0,) * BINS
    return Distribution(edges, made.background or (0,) * BINS, question, cutoff, tuple(hits))
