"""Text for a terminal: what names of files, variables and attributes may hold and it would obey."""

from __future__ import annotations

import re
import unicodedata

_OBEYED = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
_LONGEST = 10_000
_LINE_END = re.compile(r"[ \t]*\r?\n[ \t]*")


def visible(text: str) -> str:
    r"""Write out what a terminal would obey instead of showing it.

    Control characters (colours, titles, carriage returns), signs that turn the direction of
    writing or have no width, and bytes of a file name that are no text become their escapes. Line
    ends and tabs stay.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Examples
    --------
    >>> print(visible("a\x1b[31mb\u202ec"))
    a\x1b[31mb\u202ec
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        sign.encode("unicode_escape").decode()
        if unicodedata.category(sign) in _OBEYED and sign not in "\n\t"
        else sign
        for sign in text
    )


def one_line(text: str) -> str:
    r"""Write a message on one line, visibly: no name can begin a line that looks like another one.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Examples
    --------
    >>> print(one_line("no variable 'x\r\n  y'"))
    no variable 'x y'
    """
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}..."
    return visible(_LINE_END.sub(" ", text.strip()))
