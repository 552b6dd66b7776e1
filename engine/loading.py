"""Models are built one at a time, because transformers changes itself while it builds one.

Its `from_pretrained` takes `PreTrainedModel.tie_weights` away while a network is made (initialization.no_tie_weights)
and puts back what it found. Of two threads that do so at once the second finds nothing and leaves nothing behind:
from then on, heads that share the embedding's weights get no weights at all and answer from whatever memory held.
"""

from __future__ import annotations

import threading

ONE_AT_A_TIME = threading.RLock()
