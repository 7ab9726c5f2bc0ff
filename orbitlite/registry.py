"""Registry: the parts of one kind by name, those of the package and those that users add."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from inspect import Parameter, signature
from typing import Any, Generic, TypeVar

from orbitlite.errors import InputError
from orbitlite.suggest import did_you_mean

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Names of the parts of one kind: trunks, losses, readers.

    A name that is not known is an `InputError` that tells those that are. No name is given twice.
    What a config or a bundle names is looked up here and never imported: a part of your own is
    known once the module that registers it is imported (`orbitlite --import MODULE`).

    Parameters
    ----------
    kind : str
        What the names are of, as in messages: the option that takes one.

    Examples
    --------
    >>> SHAPES = Registry[type]("shape")
    >>> @SHAPES.register("square")
    ... class Square:
    ...     pass
    >>> SHAPES["square"] is Square, list(SHAPES)
    (True, ['square'])
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._parts: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that gives a name to a class or a function.

        Parameters
        ----------
        name : str

        Raises
        ------
        InputError
            If the name is taken, or none.
        """
        if not isinstance(name, str) or not name.isprintable() or not name.strip():
            raise InputError(f"{self.kind}: expected a name, found {name!r}")

        def given(part: T) -> T:
            if name in self._parts:
                raise InputError(f"{self.kind}: the name {name!r} is taken; choose another")
            self._parts[name] = part
            return part

        return given

    def __getitem__(self, name: str) -> T:
        """Return the part of a name.

        Raises
        ------
        InputError
            If it is not known.
        """
        if isinstance(name, str) and name in self._parts:
            return self._parts[name]
        hint = did_you_mean(str(name)[:200], self._parts, ".")
        raise InputError(
            f"{self.kind}: expected {self.known}, found {repr(name)[:80]}{hint} One of your own is "
            "known once the module that registers it is imported (orbitlite --import MODULE)"
        )

    @property
    def known(self) -> str:
        """The names, as a text."""
        *others, last = self._parts or ["nothing"]
        return f"{', '.join(others)} or {last}" if others else last

    def built(self, name: str, options: Mapping[str, Any] | None, *arguments: Any) -> Any:
        """Make the part of a name.

        Parameters
        ----------
        name : str
        options : mapping, optional
            Of the keyword-only arguments of its class.
        *arguments
            The others.

        Raises
        ------
        InputError
            If the name or an option is not known.
        """
        make: Any = self[name]
        taken = signature(make).parameters.values()
        known = [one.name for one in taken if one.kind is Parameter.KEYWORD_ONLY]
        for option in options or {}:
            if option not in known:
                raise InputError(
                    f"{self.kind}_options: {name} takes {', '.join(known) or 'none'}, found "
                    f"{str(option)[:80]!r}"
                )
        return make(*arguments, **(options or {}))

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._parts
