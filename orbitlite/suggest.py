"""What may have been meant by a name that is not known."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: object, known: Iterable[str], count: int = 3, likeness: float = 0.5) -> list[str]:
    """Return the known names that are most like a name, the nearest first.

    Parameters
    ----------
    name : object
        As given; what is no text is looked at as text.
    known : iterable of str
    count : int
        How many at most.
    likeness : float
        From 0 to 1, which is the same name.

    Examples
    --------
    >>> nearest("2m_temprature", ["2m_temperature", "orography"])
    ['2m_temperature']
    """
    return get_close_matches(str(name), list(known), n=count, cutoff=likeness)


def did_you_mean(name: object, known: Iterable[str], otherwise: str = "") -> str:
    """Return the end of a message about a name that is not known.

    Parameters
    ----------
    name : object
    known : iterable of str
    otherwise : str
        What to say where none is near.

    Examples
    --------
    >>> did_you_mean("foctor", ["factor", "depth"]), did_you_mean("x", ["factor"])
    ("; did you mean 'factor'?", '')
    """
    near = nearest(name, known, 1, 0.6)
    return f"; did you mean {near[0]!r}?" if near else otherwise
