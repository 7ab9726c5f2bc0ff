"""The bar on a terminal, and none elsewhere."""

import os
import pty
import re
import subprocess
import sys

from orbitlite.progress import bar

SHOW = """
from orbitlite.progress import bar
with bar("[bold]Working", None, done=1) as advance:
    advance(2, total=12)
    advance(1.5, text="Still [red]here")
"""


def test_nothing_is_shown_where_there_is_no_terminal(capsys):
    with bar("Working", 3) as advance:
        advance(3)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_text_as_it_is_and_counts():
    own, other = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.run([sys.executable, "-c", SHOW], stderr=other, env=environment, check=False)
    os.close(other)
    said = b""
    try:
        while found := os.read(own, 4096):
            said += found
    except OSError:  # the other end is closed
        pass
    os.close(own)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said.decode())
    assert done.returncode == 0
    assert "Still [red]here" in text
    assert re.search(r"\b4/12\b", text)
