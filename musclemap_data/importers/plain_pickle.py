"""Read pickles of lists, tuples, strings and numbers; refuse every other pickle before it runs.

A pickle is a program: loading one can run any command. Here every opcode is looked at first,
without executing any, and only those that make plain values are let through; then an unpickler
that can look up nothing reads it. Two locks, as the first also bounds memory (memo indices,
lengths) and gives the better message.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path
from typing import NoReturn

from musclemap_data.errors import UserError

LARGEST_PICKLE_BYTES = 64 * 2**20

_PLAIN_OPCODES = frozenset(
    (
        *("PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "DUP"),
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING"),
        *("EMPTY_LIST", "LIST", "APPEND", "APPENDS"),
        *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
        *("GET", "BINGET", "LONG_BINGET", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"),
    )
)


class _NoGlobals(pickle.Unpickler):
    """An unpickler that can make no object but the built-in plain ones."""

    def find_class(self, module_name: str, global_name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"names {module_name}.{global_name}")

    def persistent_load(self, pid: object) -> NoReturn:
        raise pickle.UnpicklingError("holds a persistent id")


def read_plain_pickle(path: Path) -> object:
    """The value of a pickle of lists, tuples, strings and numbers (protocols 0 to 5).

    Args:
        path: the file, up to ``LARGEST_PICKLE_BYTES``. Nothing in it is executed.

    Raises:
        UserError: it is no such pickle; if it names a function or class, the message says which.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST_PICKLE_BYTES:
            raise UserError(f"{path}: {size} bytes; at most {LARGEST_PICKLE_BYTES} are read")
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    length = _check_opcodes(path, data)
    if length != len(data):
        raise UserError(f"{path}: {len(data) - length} bytes follow the end of the pickle")
    try:
        return _NoGlobals(io.BytesIO(data)).load()
    except RecursionError as error:
        raise UserError(f"{path}: nested too deeply") from error
    except MemoryError as error:
        raise UserError(f"{path}: too large for the memory") from error
    except Exception as error:  # a damaged pickle may raise whatever its opcodes lead to
        raise UserError(f"{path}: not a readable pickle: {str(error)[:200]}") from error


def _check_opcodes(path: Path, data: bytes) -> int:
    """Refuse all but plain opcodes; returns the length of the pickle. Executes nothing."""
    strings: list[str] = []
    end = 0
    try:
        for count, (opcode, argument, position) in enumerate(pickletools.genops(data)):
            if opcode.name not in _PLAIN_OPCODES:
                raise _refusal(path, opcode.name, argument, strings)
            if isinstance(argument, str):
                strings = [*strings[-1:], argument]
            # A memo index makes the unpickler reserve that much memory; picklers count from 0.
            indexed = opcode.name.endswith(("PUT", "GET"))
            if indexed and not (isinstance(argument, int) and 0 <= argument <= count):
                raise UserError(f"{path}: damaged: memo index out of range at byte {position}")
            end = (position or 0) + 1
    except UserError:
        raise
    except Exception as error:  # pickletools raises several kinds on damaged input
        raise UserError(f"{path}: not a readable pickle: {str(error)[:200]}") from error
    return end


def _refusal(path: Path, opcode: str, argument: object, strings: list[str]) -> UserError:
    allowed = "only lists, tuples, strings and numbers are read; nothing was executed"
    if opcode in ("GLOBAL", "INST", "STACK_GLOBAL"):
        named = str(argument) if argument is not None else " ".join(strings)
        name = ".".join(named.split())[:200]
        text = f"{path}: refused: it names {name!r}, and {allowed}."
        if name.startswith("numpy"):
            text += " Ask for the lists as plain Python numbers, or convert numpy values first."
        return UserError(text)
    return UserError(f"{path}: refused: it holds {opcode}, and {allowed}.")
