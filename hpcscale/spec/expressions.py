"""Small expressions in studies (``512 if devices <= 64 else 8 * devices``), evaluated without Python's eval."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

_BINARY: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARE: dict[type[ast.AST], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_UNARY: dict[type[ast.AST], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": min,
    "max": max,
    "abs": abs,
    "round": round,
    "floor": math.floor,
    "ceil": math.ceil,
    "sqrt": math.sqrt,
    "log2": math.log2,
}
_LARGEST_POWER = 64
_LONGEST = 1000


class ExpressionError(ValueError):
    """The expression cannot be read or evaluated; the message is a sentence."""


@lru_cache(maxsize=4096)
def parse(text: str) -> ast.expr:
    """The expression's tree. Only arithmetic, comparisons, and/or/not, ``a if c else b`` and a few functions pass."""
    if len(text) > _LONGEST:
        raise ExpressionError(f"the expression has {len(text)} characters; at most {_LONGEST} are read")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(f"'{text}' is not an expression ({getattr(error, 'msg', error)})") from None
    for node in ast.walk(tree):
        _check(node, text)
    return tree


_ALLOWED = (
    ast.Constant, ast.Name, ast.Load, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.And, ast.Or, ast.Compare, ast.IfExp,
    ast.Call, ast.Tuple, ast.List, ast.Pow, *_BINARY, *_COMPARE, *_UNARY,
)  # fmt: skip


def _check(node: ast.AST, text: str) -> None:
    if isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Name) or node.func.id not in _FUNCTIONS or node.keywords:
            raise ExpressionError(f"'{text}' calls something else than {', '.join(_FUNCTIONS)}")
    elif isinstance(node, ast.Constant) and not isinstance(node.value, int | float | str | bool):
        raise ExpressionError(f"'{text}' holds a value that is neither a number nor text")
    elif not isinstance(node, _ALLOWED):
        raise ExpressionError(
            f"'{text}' uses {type(node).__name__}; only arithmetic, comparisons and 'a if b else c' work"
        )


@lru_cache(maxsize=4096)
def names(text: str) -> frozenset[str]:
    """The names that the expression reads."""
    tree = parse(text)
    return frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id not in _FUNCTIONS)


def evaluate(text: str, values: Mapping[str, Any] | Callable[[str], Any]) -> Any:
    """The expression's value; ``values`` maps names to numbers or text. A float that is whole becomes an int."""
    lookup = values if callable(values) else values.__getitem__
    try:
        result = _evaluate(parse(text), lookup)
    except ZeroDivisionError:
        raise ExpressionError(f"'{text}' divides by zero") from None
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, ExpressionError):
            raise
        raise ExpressionError(f"'{text}' cannot be computed ({error})") from None
    if isinstance(result, float) and result.is_integer():
        return int(result)
    return result


def _evaluate(node: ast.expr, lookup: Callable[[str], Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return lookup(name)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            base, exponent = _evaluate(left, lookup), _evaluate(right, lookup)
            if abs(exponent) > _LARGEST_POWER:
                raise ExpressionError(f"a power of {exponent} is beyond {_LARGEST_POWER}")
            return base**exponent
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _evaluate(left, lookup), _evaluate(right, lookup)
            if isinstance(a, str | list | tuple) or isinstance(b, str | list | tuple):
                raise ExpressionError("arithmetic works on numbers only")
            return _BINARY[type(op)](a, b)
        case ast.UnaryOp(op=op, operand=operand):
            return _UNARY[type(op)](_evaluate(operand, lookup))
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_evaluate(part, lookup) for part in parts)
        case ast.BoolOp(values=parts):
            return any(_evaluate(part, lookup) for part in parts)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _evaluate(body if _evaluate(test, lookup) else orelse, lookup)
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            a = _evaluate(left, lookup)
            for op, right in zip(ops, comparators, strict=True):
                b = _evaluate(right, lookup)
                if not _COMPARE[type(op)](a, b):
                    return False
                a = b
            return True
        case ast.Call(func=ast.Name(id=name), args=args):
            return _FUNCTIONS[name](*(_evaluate(each, lookup) for each in args))
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            return [_evaluate(each, lookup) for each in elements]
    raise ExpressionError(f"{type(node).__name__} cannot be evaluated")
