"""What Python's standard library lacks on another system, by typeshed's stubs, which ship with mypy."""

from __future__ import annotations

import ast
import functools
import importlib.util
import operator
import sys
from collections.abc import Iterator
from pathlib import Path

COMPARED = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
}


@functools.cache
def lacking(module: str, platform: str) -> frozenset[str]:
    """The module's public names that Linux has and `platform`, as in `sys.platform`, has not."""
    return defined(module, "linux") - defined(module, platform)


@functools.cache
def defined(module: str, platform: str) -> frozenset[str]:
    """The names that a module has there; empty where there is no such module."""
    path = _folder() / module.replace(".", "/")
    for file in (path.with_suffix(".pyi"), path / "__init__.pyi"):
        if file.is_file():
            return frozenset(_names(ast.parse(file.read_text(encoding="utf-8")).body, platform))
    return frozenset()


@functools.cache
def _folder() -> Path:
    spec = importlib.util.find_spec("mypy")
    assert spec is not None and spec.origin is not None, "mypy is not installed"
    return Path(spec.origin).parent / "typeshed" / "stdlib"


def _names(body: list[ast.stmt], platform: str) -> Iterator[str]:
    for statement in body:
        match statement:
            case ast.If(test, then, otherwise):
                yield from _names(then if _holds(test, platform) else otherwise, platform)
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
                yield name
            case ast.Assign([ast.Name(name)]) | ast.AnnAssign(ast.Name(name)):
                yield name
            case ast.ImportFrom(str(module), [ast.alias("*")], 0):
                yield from defined(module, platform)
            case ast.Import(aliases) | ast.ImportFrom(_, aliases):
                yield from (each.asname for each in aliases if each.asname)  # what isn't renamed is the stub's alone


def _holds(test: ast.expr, platform: str) -> bool:
    match test:
        case ast.BoolOp(ast.And(), values):
            return all(_holds(value, platform) for value in values)
        case ast.BoolOp(ast.Or(), values):
            return any(_holds(value, platform) for value in values)
        case ast.Compare(ast.Attribute(ast.Name("sys"), name), [comparison], [right]):
            left = platform if name == "platform" else getattr(sys, name)
            return bool(COMPARED[type(comparison)](left, ast.literal_eval(right)))
        case ast.Name("TYPE_CHECKING"):
            return False
    raise NotImplementedError(ast.unparse(test))
