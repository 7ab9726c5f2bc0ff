"""Names of files, variables and attributes: shown, and never obeyed by a terminal."""

import io
import logging
import sys
import unicodedata
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import orbitlite
from orbitlite.cli import main
from orbitlite.errors import InputError
from orbitlite.info import info
from orbitlite.model.bundle import save_bundle
from orbitlite.notice import OrbitliteWarning, warn
from orbitlite.tables import PlainTable, marked, shown
from orbitlite.terminal import one_line, visible

EVIL = "a\x1b[31mb\rc\x07\u202ed\u2066e\x9bf[red]g[/]h[link=x]i\udcffj\u2028k:smile:"


def obeyed(text):
    """Return the signs of a text that a terminal would obey, line ends apart."""
    kinds = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return [sign for sign in text if sign != "\n" and unicodedata.category(sign) in kinds]


def drawn(renderable):
    """Draw as on a terminal without colours."""
    console = Console(file=io.StringIO(), width=400, color_system=None)
    console.print(renderable)
    return console.file.getvalue()


@given(st.text(st.characters(exclude_categories=[])))
def test_any_text_is_made_visible(text):
    assert not obeyed(visible(text).replace("\t", ""))
    assert visible(visible(text)) == visible(text)
    assert not obeyed(one_line(text).replace("\t", ""))
    assert "\n" not in one_line(text)
    if text.isprintable():
        assert visible(text) == text


def test_known_escapes():
    assert visible("\x1b[31m\r\x9b\u202e\udcff\x00") == r"\x1b[31m\r\x9b\u202e\udcff\x00"
    assert visible("Zürich 10\u00b0\u00a0N, 雨") == "Zürich 10\u00b0\u00a0N, 雨"
    assert one_line("a\r\n  orbitlite: all is well\n") == "a orbitlite: all is well"
    assert len(one_line("x" * 10**6)) < 20_000


def test_errors_and_warnings_are_one_visible_line(caplog):
    text = f"no variable '{EVIL}\norbitlite: all is well'"
    error = str(InputError(text))
    assert not obeyed(error)
    assert "\n" not in error
    assert r"a\x1b[31mb\rc" in error
    with pytest.warns(OrbitliteWarning) as told:
        warn(logging.getLogger("orbitlite"), text)
    assert str(told[0].message) == error
    assert caplog.messages == [error]


def test_tables_show_texts_as_they_are():
    table = PlainTable(title=EVIL, caption=EVIL)
    table.add_column(EVIL)
    table.add_row(EVIL)
    table.add_row(shown(EVIL, "bold"))
    for text in (drawn(table), drawn(f"[bold]{marked(EVIL)}[/bold]")):
        assert not obeyed(text)
        assert "f[red]g[/]h[link=x]i" in text
    assert drawn(table).count(":smile:") == 5


@pytest.fixture
def evil_bundle(bundle, tmp_path):
    """Return a bundle whose texts are all evil."""
    training = {
        "period": [EVIL, EVIL], "times": 3, "accumulate": EVIL, "sources": {EVIL: [EVIL]},
    }  # fmt: skip
    metadata = {"orbitlite_version": EVIL, "created": EVIL, "training": training}
    scores = {EVIL: {EVIL: {EVIL: 1.0}}}
    save_bundle(tmp_path / "b", bundle.model, metadata=metadata, statics=bundle.statics,
                scores=scores)  # fmt: skip
    return tmp_path / "b"


def test_info_of_a_bundle(evil_bundle, capfd):
    text = drawn(info(str(evil_bundle)))
    assert not obeyed(text)
    assert text.count("f[red]g[/]h[link=x]i") == 10
    assert main(["info", str(evil_bundle)]) == 0
    assert not obeyed("".join(capfd.readouterr()))


@pytest.mark.parametrize("terminal", [False, True])
def test_commands_say_names_visibly(coarse, bundle_path, tmp_path, monkeypatch, capfd, terminal):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    name = "x\x1b[31m\u202e\r[red]"
    rain = coarse["total_precipitation_24hr"]
    noted = coarse.assign({name: rain.assign_attrs(units=name)})
    noted.to_zarr("noted.zarr")
    coarse.assign(total_precipitation_24hr=rain.assign_attrs(units=name)).to_netcdf("units.nc")
    coarse.to_netcdf(f"{name}.nc")
    words = ["--model", str(bundle_path), "--device", "cpu"]
    assert main(["downscale", f"{name}.nc", f"out{name}.nc", *words]) == 0
    assert main(["downscale", "noted.zarr", "noted_out.nc", *words]) == 0
    assert main(["downscale", "units.nc", "out.nc", *words]) == 2
    assert main(["downscale", "coarse.nc", "out.nc", "--model", name]) == 2
    assert main(["variables", name]) == 2
    assert main([name]) == 2
    with pytest.raises(SystemExit):
        main(["info", "x", name])
    text = "".join(capfd.readouterr())
    # Rich draws progress bars and colours with signs of its own.
    assert not set(obeyed(text)) - ({"\r", "\x1b"} if terminal else set())
    assert "x\x1b[31m" not in text
    assert "\r[red]" not in text
    assert r"x\x1b[31m\u202e\r[red]" in text.replace("\n", "")


def test_warnings_of_libraries_are_shown_visibly(monkeypatch):
    told = []

    def command(options):
        warnings.warn(f"the variable {EVIL} is odd", stacklevel=1)
        return 0

    monkeypatch.setattr("orbitlite.cli._run", command)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", lambda message, *rest: told.append(message))
        assert main(["info"]) == 0
    assert told == [f"the variable {visible(EVIL)} is odd"]


def test_scores_table(coarse):
    orbitlite.declare_variables({"my_field": {"units": "K", "long_name": EVIL}})
    fields = coarse.rename({"2m_temperature": "my_field"})[["my_field"]]
    found = orbitlite.evaluate(fields, fields, progress=False)
    for text in (str(found.table()), drawn(found.table())):
        assert not obeyed(text)
