"""What a user's module trips over because it was written for Python 2, in which pycaffe's layers began."""

from __future__ import annotations

import re

# What is gone, and what to write instead.
NAMES = {
    "xrange": "range",
    "unicode": "str",
    "basestring": "str",
    "long": "int",
    "raw_input": "input",
    "unichr": "chr",
    "reduce": "functools.reduce",
    "cmp": "(a > b) - (a < b)",
    "execfile": "exec(open(path).read())",
    "file": "open",
    "izip": "zip",
    "imap": "map",
    "ifilter": "filter",
    "izip_longest": "itertools.zip_longest",
}
METHODS = {
    "iteritems": "items",
    "itervalues": "values",
    "iterkeys": "keys",
    "has_key": "`key in d`",
    "next": "`next(iterator)`",
}
MODULES = {
    "cPickle": "pickle",
    "cStringIO": "io",
    "StringIO": "io",
    "Queue": "queue",
    "ConfigParser": "configparser",
    "urllib2": "urllib.request",
    "urlparse": "urllib.parse",
    "__builtin__": "builtins",
}
SYNTAX = re.compile(
    r"Missing parentheses in call to '(print|exec)'|leading zeros in decimal|multiple exception types must be|"
    r"inconsistent use of tabs|invalid decimal literal|Did you mean print\("
)


def hint(error: BaseException) -> str:
    """What to do where the user's code failed because it is Python 2; else an empty string."""
    if isinstance(error, TypeError) and "'float' object cannot be interpreted as an integer" in str(error):
        return "if the number is a quotient: / of whole numbers gives a fraction since Python 3, // a whole number"
    what = _cause(error)
    return f"this is Python 2, {what}: convert the file with `2to3 -w` (which Python has up to 3.12)" if what else ""


def _cause(error: BaseException) -> str:
    text = str(error)
    if isinstance(error, SyntaxError):
        line = (error.text or "").strip()
        old = SYNTAX.search(text) or re.match(r"(print|exec)\s+[^=(]|raise\s+\w+\s*,|except\s+[\w.]+\s*,", line)
        return f"whose `{line}` is no longer written so" if old else ""
    if isinstance(error, NameError):
        name = re.sub(r".*name '(\w+)' is not defined.*", r"\1", text)
        return f"whose {name} is {NAMES[name]} now" if name in NAMES else ""
    if isinstance(error, AttributeError):
        name = re.sub(r".*has no attribute '(\w+)'.*", r"\1", text)
        return f"whose .{name}() is {_method(name)} now" if name in METHODS else ""
    if isinstance(error, ModuleNotFoundError):
        return f"whose module {error.name} is {MODULES[error.name]} now" if error.name in MODULES else ""
    if isinstance(error, ImportError):
        names = [name for name in NAMES if f"'{name}'" in text]
        return f"whose {names[0]} is {NAMES[names[0]]} now" if names else ""
    return ""


def _method(name: str) -> str:
    word = METHODS[name]
    return word if "`" in word else f".{word}()"
