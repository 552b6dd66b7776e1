"""Works out arithmetic that a model wrote: parsed, never run as code, and with limits on size and time."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable

from engine.errors import Problem

Number = int | float
LONGEST = 300  # characters
MOST_PARTS = 150  # nodes of the parsed expression
LARGEST = 1e300  # of any number on the way; whole numbers beyond would take ever longer

# signs that people write and Python does not; "^" is a power to everybody but programmers
SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-"})
OPERATORS: dict[type, Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
CONSTANTS = {"pi": math.pi, "e": math.e, "tau": math.tau}
FUNCTIONS: dict[str, Callable[..., Number]] = {
    "abs": abs,
    "min": min,
    "max": max,
    "round": lambda x, places=0: round(x, min(int(places), 15)) if places else round(x),
    "sqrt": math.sqrt,
    "exp": math.exp,
    "log": math.log,
    "log10": math.log10,
    "log2": math.log2,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "floor": math.floor,
    "ceil": math.ceil,
}


def work_out(expression: str) -> str:
    """The value as text. Raises Problem with what is wrong with the expression."""
    if len(expression) > LONGEST:
        raise Problem(f"The expression is longer than {LONGEST} characters.")
    try:
        tree = ast.parse(expression.translate(SIGNS).strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise Problem(f"'{expression}' is not an arithmetic expression.") from None
    if sum(1 for _ in ast.walk(tree)) > MOST_PARTS:
        raise Problem("The expression has too many parts.")
    try:
        return spelled(value(tree.body))
    except ZeroDivisionError:
        raise Problem("The expression divides by zero.") from None
    except (OverflowError, ValueError, TypeError, RecursionError) as error:
        raise Problem(f"'{expression}' cannot be worked out: {error}.") from None


def value(node: ast.expr) -> Number:
    """The value of one part. Raises Problem for anything but numbers, the operators and the functions above."""
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return within_limits(number)
        case ast.Name(id=name) if name in CONSTANTS:
            return CONSTANTS[name]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            return -value(operand) if isinstance(sign, ast.USub) else value(operand)
        case ast.BinOp(left=left, op=ast.Pow() | ast.BitXor(), right=right):
            return power(value(left), value(right))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return within_limits(OPERATORS[type(op)](value(left), value(right)))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
            return within_limits(FUNCTIONS[name](*map(value, args)))
    raise Problem("Only numbers, + - * / // % ** and functions such as sqrt, round or log are understood.")


def power(base: Number, exponent: Number) -> Number:
    """base ** exponent, refused before it is computed where it would be too large."""
    if base and abs(exponent) * abs(math.log10(abs(base))) > math.log10(LARGEST):
        raise Problem("The result would be too large.")
    result = base**exponent
    if isinstance(result, complex):
        raise Problem("The root of a negative number is not a real number.")
    return within_limits(result)


def within_limits(number: Number) -> Number:
    """The number itself. Raises Problem when it is too large to go on with."""
    if not abs(number) <= LARGEST:
        raise Problem("A number on the way is too large.")
    return number


def spelled(number: Number) -> str:
    """As a person would write it: no trace of binary fractions, no ".0"."""
    if isinstance(number, int):
        return str(number)
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else f"{number:.12g}"
