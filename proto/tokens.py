"""Words of a prototxt: names, numbers, strings and symbols, each with its location in the file."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator
from typing import NamedTuple

from demitasse.proto.errors import SyntaxFault, Where
from demitasse.proto.name_hints import character_hint

_WORD = re.compile(
    r"""
    (?P<space>   [ \t\r\n\f\v]+ | \#[^\n]* )
  | (?P<path>    [A-Za-z]:\\[^\s"'{}<>\[\],;\#]* )
  | (?P<name>    [A-Za-z_][A-Za-z0-9_]* )
  | (?P<number>  0[xX][0-9a-fA-F]+ | (?: [0-9]+ (?:\.[0-9]*)? | \.[0-9]+ ) (?: [eE][+-]?[0-9]+ )? [fF]? )
  | (?P<string>  "(?:[^"\\\n]|\\[^\n])*" | '(?:[^'\\\n]|\\[^\n])*' | \$[A-Za-z]+\$ )
  | (?P<symbol>  [-{}<>\[\]:;,./] )
  | (?P<bad>     . )
""",
    re.VERBOSE,
)

_MYCAFFE_PATH = re.compile(r"\$\w+\$\\")  # a folder of MyCaffe's, and backslashes that divide folders
_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))")
_LETTERS = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "\\": "\\",
    "'": "'",
    '"': '"',
    "?": "?",
}


class Token(NamedTuple):
    kind: str  # "name", "number", "string", "path" (C:\nets, as MyCaffe writes it), "symbol" or "end"
    text: str  # as written
    offset: int  # in the text, for SourceText.where

    @property
    def shown(self) -> str:
        """What a message calls it."""
        if self.kind == "end":
            return "the end of the file"
        return shortened(self.text) if self.kind == "string" else f"'{shortened(self.text)}'"


class SourceText:
    """A text with its file's name: cut into tokens, offsets to locations."""

    def __init__(self, text: str, file: str = ""):
        self.text, self.file = text, file
        self.told_of_words = False  # whether a warning has said that words stand without quotes
        self._line_starts = [0] + [match.end() for match in re.finditer("\n", text)]

    def where(self, offset: int, fields: dict | None = None) -> Where:
        """The line and column, both from 1, of an offset into the text."""
        line = bisect.bisect_right(self._line_starts, offset)
        return Where(self.file, line, offset - self._line_starts[line - 1] + 1, {} if fields is None else fields)

    def after_spaces(self, offset: int) -> int:
        """The offset of what follows the spaces from an offset on."""
        while self.text[offset : offset + 1] in (" ", "\t"):
            offset += 1
        return offset

    def lists_after(self, colon: Token) -> bool:
        """Whether a list of values, in brackets, follows a colon."""
        return colon.text == ":" and self.text[(at := self.after_spaces(colon.offset + 1)) : at + 1] == "["

    def tokens(self) -> Iterator[Token]:
        """One token after the other, at the end one of kind "end".

        SyntaxFault for what is neither a number nor a name.
        """
        last, follows_number = Token("end", "", 0), -1
        for match in _WORD.finditer(self.text):
            kind = match.lastgroup or ""
            if kind == "space":
                continue
            token = Token(kind, match[0], match.start())
            if kind == "bad":
                self._refuse(token)
            if kind in ("name", "number") and token.offset == follows_number:
                raise SyntaxFault(
                    f"'{shortened(last.text + token.text)}' is neither a number nor a name", self.where(last.offset)
                )
            follows_number = match.end() if kind == "number" else -1
            last = token
            yield token
        yield Token("end", "", len(self.text))

    def _refuse(self, token: Token) -> None:
        where = self.where(token.offset)
        if token.text in "\"'":
            raise SyntaxFault(f"the string that begins here has no closing {token.text} on its line", where)
        raise SyntaxFault(f"unexpected character {token.text!r}{character_hint(token.text)}", where)


def shortened(text: str) -> str:
    """A word of the file for a message: its beginning, where it is long."""
    return text if len(text) <= 60 else text[:57] + "..."


def unquote(token: Token, source: SourceText) -> bytes:
    r"""The bytes of a string token: quotes off, escapes (\n \' \\ \101 \x41 \u00e9 ...) resolved; all else as it is.

    SyntaxFault for an escape that there is not.
    """
    body = token.text[1:-1] if token.kind == "string" else token.text
    if token.kind != "string" or "\\" not in body or _MYCAFFE_PATH.match(body):
        return body.encode("utf-8", "surrogateescape")
    out, at = bytearray(), 0
    for match in _ESCAPE.finditer(body):
        out += body[at : match.start()].encode("utf-8", "surrogateescape")
        at = match.end()
        octal, hexadecimal, short, long, letter = match.groups()
        if octal or hexadecimal:
            code = int(octal, 8) if octal else int(hexadecimal, 16)
            good = code < 256
            out += bytes([code]) if good else b""
        elif short or long:
            code = int(short or long, 16)
            good = code < 0x110000 and not 0xD800 <= code < 0xE000
            out += chr(code).encode() if good else b""
        else:
            good = letter in _LETTERS
            out += _LETTERS.get(letter, "").encode()
        if not good:
            raise SyntaxFault(
                f"unknown escape {match[0]} in a string (a backslash itself is written \\\\)",
                source.where(token.offset + 1 + match.start()),
            )
    return bytes(out + body[at:].encode("utf-8", "surrogateescape"))
