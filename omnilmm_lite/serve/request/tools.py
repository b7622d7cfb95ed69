"""Functions that an answer may call: `tools` and `tool_choice`, and how they are put to the model.

The model wasn't trained to call any. They are described to it in the system turn, and a grammar holds what it says to
the form of a call. Source: OpenAI's reference, "Function calling".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from omnilmm_lite.files.printable import printable
from omnilmm_lite.serve.errors import ApiError, invalid
from omnilmm_lite.serve.request.fields import RequestFields, checked_text, json_type
from omnilmm_lite.serve.request.schema.closed_schema import closed_object
from omnilmm_lite.serve.request.tables import FUNCTION, TOOL

CHOICE = "tool_choice"
MOST_TOOLS = 128
NAME = re.compile(r"[\w.:/-]{1,128}", re.ASCII)  # OpenAI's, and what tools of other programs are called
NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}}
UNTRAINED = "tools: the model wasn't trained to call functions; its answers are only held to the form of a call"


class ToolMode(Enum):
    AUTO = "auto"  # a call or words
    REQUIRED = "required"  # a call


@dataclass(frozen=True)
class Tool:
    """A function: `parameters` is the JSON schema of its arguments."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class ToolUse:
    """The functions that an answer may call, and whether it has to."""

    tools: tuple[Tool, ...]
    mode: ToolMode

    def schema(self, words: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """JSON of a call: its name, then its arguments. Each function's own schema keeps its inner references.
        `words`: the schema of an answer that isn't a call, where there may be one."""
        definitions = {
            str(index): _moved(closed_object(tool.parameters), f"#/$defs/{index}")
            for index, tool in enumerate(self.tools)
        }
        calls: list[dict[str, Any]] = [
            {
                "type": "object",
                "properties": {"name": {"const": tool.name}, "arguments": {"$ref": f"#/$defs/{index}"}},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
            for index, tool in enumerate(self.tools)
        ]
        if words is not None and self.mode is ToolMode.AUTO:
            definitions["words"] = _moved(closed_object(words), "#/$defs/words")
            calls.append({"$ref": "#/$defs/words"})
        return {"$defs": definitions, "anyOf": calls}

    def prompt(self) -> str:
        """What the system turn says of them."""
        must = "Answer with" if self.mode is ToolMode.REQUIRED else "To call one, answer with"
        lines = [
            json.dumps(
                {"name": tool.name, "description": tool.description, "parameters": tool.parameters}, ensure_ascii=False
            )
            for tool in self.tools
        ]
        return "\n".join([
            f'You can call functions. {must} nothing but JSON: {{"name": its name, "arguments": its arguments}}. '
            "These are the functions, with the schemas of their arguments:",
            *lines,
        ])  # fmt: skip


def read_tools(request: RequestFields) -> ToolUse | None:
    """None where no function may be called, whatever there is to call."""
    choice = request.value(CHOICE)
    if choice == "none":
        return None
    tools = [_tool(each) for each in request.objects("tools")]
    if len(tools) > MOST_TOOLS:
        raise invalid(f"tools: there are {len(tools)}; give at most {MOST_TOOLS}", "tools")
    names = [tool.name for tool in tools]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise invalid(f"tools: two are called {printable(twice)!r}; give each a name of its own", "tools")
    if not tools and choice in (None, "auto"):
        return None
    if not tools:
        raise invalid(f"{CHOICE}: there are no tools to choose from; give tools as well", CHOICE)
    use = _chosen(request, ToolUse(tuple(tools), ToolMode.AUTO))
    request.warnings.add(UNTRAINED)
    return use


def call_head(name: str) -> str:
    """How a call begins, as `ToolUse.schema` has it; its arguments follow, and a brace."""
    return f'{{"name": "{name}", "arguments": '


def _tool(fields: RequestFields) -> Tool:
    """In the form of chat completions, or that of responses, which has no object within."""
    kind = fields.string("type")
    if kind != "function":
        name = fields.name("type")
        raise invalid(f"{name}: {printable(str(kind))!r} can't be had here; give functions alone", name,
                      "unsupported_parameter")  # fmt: skip
    function = fields.object("function")
    if function is None:
        function = fields
    else:
        fields.check(TOOL)
    function.check(FUNCTION)
    parameters = function.object("parameters")
    schema = None if parameters is None else function.value("parameters")
    place = function.name("parameters")
    try:
        checked_text(json.dumps(schema, ensure_ascii=False), place)
    except RecursionError:
        raise invalid(f"{place}: the schema is nested too deeply", place) from None
    name = function.required("name")
    if NAME.fullmatch(name) is None:
        raise invalid(f"{function.name('name')}: {printable(name)!r} is no function's name; give letters, digits, _, -",
                      function.name("name"))  # fmt: skip
    return Tool(name, function.string("description") or "", schema or NO_ARGUMENTS)


def _chosen(request: RequestFields, use: ToolUse) -> ToolUse:
    choice = request.value(CHOICE)
    if choice is None or isinstance(choice, str):
        if choice in (None, *(mode.value for mode in ToolMode)):
            return ToolUse(use.tools, ToolMode(choice or ToolMode.AUTO))
        raise _wrong(f"{printable(choice or '')!r} is none of none, auto, required")
    if not isinstance(choice, dict):
        raise _wrong(f"it is {json_type(choice)}; give none, auto, required, or a function")
    fields = RequestFields(choice, CHOICE, request.warnings)
    match fields.string("type"):
        case "function":
            return ToolUse((_named(fields, use),), ToolMode.REQUIRED)
        case "allowed_tools":
            inner = fields.object("allowed_tools") or fields
            allowed = tuple(_named(each, use) for each in inner.objects("tools"))
            if not allowed or inner.string("mode") not in (None, *(mode.value for mode in ToolMode)):
                raise _wrong("give allowed_tools with mode auto or required, and one or more tools")
            return ToolUse(allowed, ToolMode(inner.string("mode") or "auto"))
        case kind:
            raise _wrong(f"{printable(str(kind))!r} can't be had here; give a function")


def _named(fields: RequestFields, use: ToolUse) -> Tool:
    """The function that a choice names, in either form."""
    name = (fields.object("function") or fields).required("name")
    if (found := next((tool for tool in use.tools if tool.name == name), None)) is None:
        raise _wrong(f"there is no function {printable(name)!r} among the tools")
    return found


def _wrong(why: str) -> ApiError:
    return invalid(f"{CHOICE}: {why}", CHOICE)


def _moved(schema: Any, place: str) -> Any:
    """The schema with its references to itself as they are once it lies at `place`; at most as deep as JSON's own
    reader goes."""
    if isinstance(schema, list):
        return [_moved(each, place) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: place + value[1:] if key == "$ref" and isinstance(value, str) and value.startswith("#")
        else _moved(value, place)
        for key, value in schema.items()
    }  # fmt: skip
