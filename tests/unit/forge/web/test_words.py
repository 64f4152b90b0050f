"""The words of the pages' scripts beside those of the server: the same number is written the same way, whoever writes it."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib.resources import files
from urllib.parse import quote

import pytest

from emberank.forge.web.filters import ms, plural, usd

TIMES = [0, 0.04, 4.21, 9.94, 9.96, 186.4, 999.4, 999.6, 12_340, 59_940, 59_960, 93_000, 3_599_000, 7_200_000]
MONEY = [0, 0.0000123, 0.00037, 0.0045, 0.009, 0.01, 0.2, 7.15, 1234.5]
SCRIPT = """
import { ms, plural, sentence, usd } from %s;
const [times, money] = %s;
console.log(JSON.stringify([times.map(ms), money.map(usd), [ms(null), usd(null), plural(1, "model"), plural(1200, "model"), sentence("it fails"), sentence("file:x is gone.")]]));
"""


def test_the_scripts_write_numbers_as_the_server_does() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed here")
    words = files("emberank.forge.web").joinpath("static", "words.js").read_text("utf-8")
    # A file that ends in .js is no module to node unless something says so; its text is one all the same.
    script = SCRIPT % (json.dumps("data:text/javascript," + quote(words)), json.dumps([TIMES, MONEY]))
    done = subprocess.run([node, "--input-type=module", "-"], input=script, capture_output=True, text=True, timeout=60, check=True)
    times, money, rest = json.loads(done.stdout)
    assert times == [ms(value) for value in TIMES]
    assert money == [usd(value) for value in MONEY]
    assert rest == ["—", "—", plural(1, "model"), plural(1200, "model"), "It fails.", "file:x is gone."]
