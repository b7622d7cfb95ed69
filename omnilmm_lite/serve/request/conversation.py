"""A conversation as clients send it, made into one as the model has it: a system turn, then user and assistant in turn,
and one picture, in the first user turn's prompt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from omnilmm_lite.files.printable import printable
from omnilmm_lite.serve.errors import invalid
from omnilmm_lite.serve.request.fields import RequestFields
from omnilmm_lite.serve.request.parts import Content, read_content
from omnilmm_lite.serve.request.tables import MESSAGE
from omnilmm_lite.serve.request.tools import ToolUse
from omnilmm_lite.text.prompt import DEFAULT_SYSTEM

DEFAULT_QUESTION = "Describe this picture."  # where somebody sends one without a word
SYSTEM, USER, ASSISTANT, TOOL = "system", "user", "assistant", "tool"
ROLES = {SYSTEM: SYSTEM, "developer": SYSTEM, USER: USER, ASSISTANT: ASSISTANT, TOOL: TOOL,
         "function": TOOL}  # fmt: skip


@dataclass
class Turn:
    """All that one side says until the other one does. `name`: of its first message."""

    role: str
    name: str
    texts: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Conversation:
    """As `omnilmm_lite.text.prompt.encode_chat` takes it, and the picture's address."""

    messages: list[dict[str, str]]
    image_url: str | None


def read_conversation(fields: RequestFields, name: str, tools: ToolUse | None, system: str | None) -> Conversation:
    """From the array `name`. `system`: what stands before it. ApiError names what can't be had.

    What system messages say, wherever they stand, is joined in the system turn; turns of one side in a row are one;
    results of functions are the user's. The newest picture counts, which the answer's warning says in the turn that it
    comes in.
    """
    turns, systems, calls = list[Turn](), [] if system is None else [system], dict[str, str]()
    items = fields.objects(name)
    if not items:
        raise invalid(f"{name}: give an array of one or more messages", name, "missing_required_parameter")
    for item in items:
        role, content = _said(item, calls)
        if role == SYSTEM:
            systems += [content.text] if content.texts else []
            continue
        if not turns or turns[-1].role != role:
            turns.append(Turn(role, item.name()))
        turns[-1].texts += content.texts
        turns[-1].pictures += content.pictures
    if not turns or turns[0].role != USER:
        raise invalid(f"{name}: there is no user message before the assistant's; begin with one", name)
    if turns[-1].role != USER:
        raise invalid(f"{name}[{len(items) - 1}]: the last message must be the user's", f"{name}[{len(items) - 1}]")
    image_url = _newest_picture(turns, fields, name)
    messages = [{"role": turn.role, "content": _text(turn)} for turn in turns]
    if tools is not None:
        systems = ["\n\n".join([*(systems or [DEFAULT_SYSTEM]), tools.prompt()])]
    if systems:
        messages.insert(0, {"role": SYSTEM, "content": "\n\n".join(systems)})
    return Conversation(messages, image_url)


def _said(item: RequestFields, calls: dict[str, str]) -> tuple[str, Content]:
    """Whose message it is, and what it says. `calls`: the names of functions by the ids of their calls."""
    match item.string("type"):
        case None | "message":
            pass
        case "function_call":
            call_id, name = item.string("call_id") or "", item.required("name")
            calls[call_id] = name
            return ASSISTANT, Content([_call_text(name, item.string("arguments"))])
        case "function_call_output":
            return USER, _result(read_content(item, "output"), calls.get(item.string("call_id") or ""))
        case "reasoning":
            return ASSISTANT, Content()
        case kind:
            place = item.name("type")
            raise invalid(f"{place}: {printable(str(kind))!r} can't be had here; give messages, function_call, "
                          "function_call_output", place)  # fmt: skip
    item.check(MESSAGE)
    role = item.string("role") or ""
    if role not in ROLES:
        raise invalid(f"{item.name('role')}: {printable(role)!r} is none of {', '.join(ROLES)}", item.name("role"))
    content = read_content(item, "content")
    if content.pictures and ROLES[role] != USER:
        raise invalid(f"{item.name('content')}: pictures belong in the user's messages", item.name("content"))
    if ROLES[role] == TOOL:
        return USER, _result(content, calls.get(item.string("tool_call_id") or "") or item.string("name"))
    if role != ASSISTANT:
        return ROLES[role], content
    refusal = item.string("refusal")
    texts = content.texts + ([refusal] if refusal else [])
    for call in item.objects("tool_calls"):
        function = call.object("function")
        if function is None:
            raise call.missing("function")
        name = function.required("name")
        calls[call.string("id") or ""] = name
        texts.append(_call_text(name, function.string("arguments")))
    return ASSISTANT, Content(texts)


def _call_text(name: str, arguments: str | None) -> str:
    """A call as the model said it."""
    return f'{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": {arguments or "{}"}}}'


def _result(content: Content, name: str | None) -> Content:
    """A function's result, as the user's words."""
    return Content([f"Result of {name}:\n{content.text}" if name else f"Result:\n{content.text}"], content.pictures)


def _newest_picture(turns: Sequence[Turn], fields: RequestFields, name: str) -> str | None:
    """Said is only what is new in this very request: earlier answers said the rest."""
    users = [turn for turn in turns if turn.role == USER]
    seen = [url for turn in users for url in turn.pictures]
    if not seen:
        return None
    newest, last = seen[-1], users[-1]
    is_new = newest in last.pictures and not any(newest in turn.pictures for turn in users[:-1])
    if len(set(last.pictures)) > 1:
        fields.warnings.add(f"{name}: the last picture of the last message counts; the model takes one at a time")
    elif last.pictures and is_new and len(set(seen)) > 1:
        fields.warnings.add(f"{name}: the conversation is about the new picture now; the model takes one at a time")
    elif last.pictures and is_new and len(users) > 1:
        fields.warnings.add(f"{name}: the picture was put first in the conversation, where the model wants it")
    return newest


def _text(turn: Turn) -> str:
    text = "\n".join(turn.texts)
    if turn.role != USER or text.strip():
        return text
    if not turn.pictures:
        raise invalid(f"{turn.name}: the prompt is empty; ask a question", turn.name)
    return DEFAULT_QUESTION
