"""What the text model is told: a summary of the past, the descriptions in the window, the question.

The pattern is that of the model's authors (README of MiniCPM-V, "real-time interaction"): after each answer the text
model sums up what happened and what was said last.
"""

from __future__ import annotations

from collections.abc import Sequence

from omnilmm_lite.live.answering.memory import Description, Round
from omnilmm_lite.live.answering.text_model import Message, Role

ANSWER_SYSTEM = (
    "You watch what a camera sees, together with the user. You can't see yourself: you are told what was seen, and "
    "when. Answer the user's question from that, in one or two short sentences, as if you had seen it. Say so if it "
    "was not seen."
)
SUMMARY_SYSTEM = (
    "You keep notes of what a camera sees and of a conversation about it. Answer with two lines and nothing else, each "
    "of at most 40 words, and speak to the user as you."
)
SUMMARY_REQUEST = (
    "Write the notes anew, with what is new in them:\nEvent: (what you, the user, have been doing until now)\n"
    "Last Round: (what you asked last, and what was answered)"
)
NOTHING_SEEN = "(nothing yet)"


def answer_messages(summary: str, window: Sequence[Description], question: str, now_s: float) -> Sequence[Message]:
    """For an answer from what was seen. `window`: oldest first; times are told as seconds before `now_s`."""
    parts = [f"Notes of what was before:\n{summary}"] if summary else []
    parts += [f"Seen, oldest first:\n{_lines(window, now_s)}", f"Question: {question}"]
    return (Message(Role.SYSTEM, ANSWER_SYSTEM), Message(Role.USER, "\n\n".join(parts)))


def summary_messages(
    summary: str, window: Sequence[Description], rounds: Sequence[Round], now_s: float
) -> Sequence[Message]:
    """For the summary after an answer. `rounds`: those that `summary` doesn't hold, oldest first."""
    parts = [f"Your notes until now:\n{summary}"] if summary else []
    parts.append(f"Seen, oldest first:\n{_lines(window, now_s)}")
    parts += [f"You asked: {each.question}\nThe answer was: {each.answer}" for each in rounds]
    return (Message(Role.SYSTEM, SUMMARY_SYSTEM), Message(Role.USER, "\n\n".join([*parts, SUMMARY_REQUEST])))


def _lines(window: Sequence[Description], now_s: float) -> str:
    lines = [f"- {max(now_s - each.time_s, 0):.0f} s ago: {each.text}" for each in window]
    return "\n".join(lines) or NOTHING_SEEN
