"""Documents to cited answers: reading, cleaning, chunks, our own store, its index, retrieval. May use engine."""
