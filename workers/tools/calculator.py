"""Arithmetic on text that a stranger wrote.

Nothing is executed: the expression is parsed, and only the node types below are evaluated.
Every number stays under a bound that is checked before the operation, so no input takes
more than a moment or more than a few kilobytes.
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

Number: TypeAlias = int | float

EXPRESSION_CHARS_MAX: Final = 300
_BITS_MAX: Final = 4_096
"""Largest whole number (about 1,233 digits)."""
_FACTORIAL_MAX: Final = 400

_UNDERSTOOD: Final = "only numbers, + - * / // % **, and functions are understood"

_CONSTANTS: Final[Mapping[str, Number]] = {"pi": math.pi, "e": math.e, "tau": math.tau}

_UNARY: Final[Mapping[type[ast.unaryop], Callable[[Number], Number]]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}


class BadExpression(ValueError):
    """The expression is no arithmetic, or goes over a bound; the message says which."""


def evaluate(expression: str) -> Number:
    """Return the value of an arithmetic expression.

    Raises:
        BadExpression: It cannot be evaluated; the message can be shown to the model.
    """
    if len(expression) > EXPRESSION_CHARS_MAX:
        raise BadExpression(f"the expression is over {EXPRESSION_CHARS_MAX} characters")
    try:
        tree = ast.parse(expression.strip().replace("^", "**"), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise BadExpression("this is not an arithmetic expression") from None
    try:
        return _value(tree.body)
    except ZeroDivisionError:
        raise BadExpression("division by zero") from None
    except OverflowError:
        raise BadExpression("the result is too large") from None
    except RecursionError:
        raise BadExpression("the expression is nested too deeply") from None
    except BadExpression:
        raise
    except (ValueError, TypeError) as error:
        raise BadExpression(str(error)) from None


def written(value: Number) -> str:
    """Return a value as a person would write it: 0.1 + 0.2 is 0.3."""
    return str(value) if isinstance(value, int) else f"{value:.15g}"


def _value(node: ast.expr) -> Number:
    match node:
        case ast.Constant(value=bool()):
            raise BadExpression("only numbers can be calculated with")
        case ast.Constant(value=int() | float() as number):
            return _bounded(number)
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            return _UNARY[type(op)](_value(operand))
        case ast.BinOp(left=left, op=op, right=right):
            # Operands are bounded, so a product has at most twice the bits.
            return _bounded(_combined(_value(left), op, _value(right)))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return _called(name, [_value(argument) for argument in arguments])
        case _:
            raise BadExpression(_UNDERSTOOD)


def _combined(left: Number, op: ast.operator, right: Number) -> Number:
    match op:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            return left / right
        case ast.FloorDiv():
            return left // right
        case ast.Mod():
            return left % right
        case ast.Pow():
            return _power(left, right)
        case _:
            raise BadExpression(_UNDERSTOOD)


def _called(name: str, arguments: list[Number]) -> Number:
    if name in {"min", "max"} and arguments:
        return min(arguments) if name == "min" else max(arguments)
    if name == "round" and len(arguments) == 2 and isinstance(arguments[1], int):
        # Beyond a float's range there is nothing to round, and 10**places would be huge.
        return round(arguments[0], max(-400, min(400, arguments[1])))
    if name not in _FUNCTIONS:
        raise BadExpression(f"there is no function {name[:20]}")
    if len(arguments) != 1:
        raise BadExpression(f"{name} takes one number")
    return _bounded(_FUNCTIONS[name](arguments[0]))


def _power(base: Number, exponent: Number) -> Number:
    if isinstance(base, int) and isinstance(exponent, int) and exponent > 0:
        if base not in {-1, 0, 1} and base.bit_length() * exponent > 2 * _BITS_MAX:
            raise BadExpression("the result is too large")
        return int(base**exponent)
    return math.pow(base, exponent)


def _factorial(number: Number) -> int:
    if not isinstance(number, int) or not 0 <= number <= _FACTORIAL_MAX:
        raise BadExpression(f"factorial takes a whole number from 0 to {_FACTORIAL_MAX}")
    return math.factorial(number)


def _square_root(number: Number) -> Number:
    if isinstance(number, int) and number >= 0 and math.isqrt(number) ** 2 == number:
        return math.isqrt(number)
    return math.sqrt(number)


def _bounded(number: Number) -> Number:
    if isinstance(number, int):
        if number.bit_length() > _BITS_MAX:
            raise BadExpression("the result is too large")
    elif not math.isfinite(number):
        raise BadExpression("the result is not a finite number")
    return number


_FUNCTIONS: Final[Mapping[str, Callable[[Number], Number]]] = {
    "abs": abs,
    "ceil": math.ceil,
    "cos": math.cos,
    "degrees": math.degrees,
    "exp": math.exp,
    "factorial": _factorial,
    "floor": math.floor,
    "log": math.log,
    "log10": math.log10,
    "log2": math.log2,
    "radians": math.radians,
    "round": round,
    "sin": math.sin,
    "sqrt": _square_root,
    "tan": math.tan,
}
