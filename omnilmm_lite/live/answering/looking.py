"""Whether a question asks about NOW, so that the newest frame itself answers it better than what was said of it."""

from __future__ import annotations

import re

# What asks about something that is over, or about more than one moment.
PAST = re.compile(
    r"\b(was|were|did|had|been|happened|before|earlier|ago|previous(ly)?|first|last|past|until|so far|since|yesterday"
    r"|already|again|ever|when|then|summar\w+|remember|history|changed?|disappeared|left the|came|went|saw|seen|said"
    r"|told|used to|how (long|often|many times)|what have)\b",
    re.IGNORECASE,
)
# Of these, what is about now after all.
NOW = re.compile(r"\b(now|right now|at the moment|currently|do you see|can you see)\b", re.IGNORECASE)


def asks_about_now(question: str) -> bool:
    """False where it needs what was before: the descriptions have that, the newest frame doesn't. English."""
    return bool(NOW.search(question)) or not PAST.search(question)
