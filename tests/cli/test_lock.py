"""`mirror lock rewrite`: lock files made elsewhere are turned to the mirror, and nothing else in them changes."""

import json
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.cli.lock import KNOWN_HOSTS, index_spelling, mirror_base, turn
from mirror.core.errors import InputError
from tests.support import preloaded

BASE = "http://mirror.acme.example:8080/pypi"
PATH = "packages/aa/bb/" + "c" * 60 + "/acme-1.0-py3-none-any.whl"
UV = f"""# made by hand: https://pypi.org/simple stays in a comment
version = 1
requires-python = ">=3.11"

[[package]]
name = "acme"
version = "1.0"
source = {{ registry = "https://pypi.org/simple" }}  # "https://pypi.org/simple"
sdist = {{ url = 'https://files.pythonhosted.org/{PATH}', hash = "sha256:00", size = 1 }}
wheels = [
    {{ url = "https://files.pythonhosted.org/{PATH}", hash = "sha256:00", size = 1 }},
]

[[package]]
name = "globex"
source = {{ git = "https://git.globex.example/globex?rev=1#abc" }}
"""
PYLOCK = f"""lock-version = "1.0"
[[packages]]
name = "acme"
index = "https://pypi.org/simple/"
wheels = [{{ url = "https://files.pythonhosted.org/{PATH}", hashes = {{ sha256 = "00" }} }}]
"""
REQUIREMENTS = f"""--index-url https://pypi.org/simple
acme @ https://files.pythonhosted.org/{PATH}#sha256=00 ; python_version > "3"
# via https://pypi.org/simple
globex==1.0  # https://pypi.org/simple
"""


def run(*arguments, cwd):
    return preloaded.run(["lock", "rewrite", *arguments], cwd=cwd)


def test_uv_lock_changes_hosts_only():
    """Registry and file URLs point to the mirror; comments, order, hashes and other hosts stay."""
    done = turn(UV, "uv.lock", BASE)
    assert (done.changed, done.already) == (3, 0)
    assert [(one.line, one.url) for one in done.elsewhere] == [(16, "https://git.globex.example/globex?rev=1#abc")]
    expected = UV.replace('registry = "https://pypi.org/simple"', f'registry = "{BASE}/simple/"').replace("https://files.pythonhosted.org", BASE)
    assert done.text == expected
    tomllib.loads(done.text)


def test_pylock_is_turned():
    """PEP 751: the index and each wheel's URL."""
    done = turn(PYLOCK, "pylock.dev.toml", BASE)
    packages = tomllib.loads(done.text)["packages"]
    assert packages[0]["index"] == f"{BASE}/simple/"
    assert packages[0]["wheels"][0]["url"] == f"{BASE}/{PATH}"
    assert done.elsewhere == ()


def test_requirements_are_turned():
    """Options and direct URLs change, with fragment and marker kept; comments do not."""
    done = turn(REQUIREMENTS, "requirements.txt", BASE)
    assert done.text.splitlines() == [
        f"--index-url {BASE}/simple/",
        f'acme @ {BASE}/{PATH}#sha256=00 ; python_version > "3"',
        "# via https://pypi.org/simple",
        "globex==1.0  # https://pypi.org/simple",
    ]


def test_pipfile_lock_is_turned():
    """Pipenv's lock is JSON under the same ending as TOML locks."""
    text = json.dumps({"_meta": {"sources": [{"name": "pypi", "url": "https://pypi.org/simple"}]}}, indent=4)
    assert json.loads(turn(text, "Pipfile.lock", BASE).text)["_meta"]["sources"][0]["url"] == f"{BASE}/simple/"


def test_the_index_is_spelt_as_clients_spell_it():
    """Uv compares a lock's registry with its index letter by letter: the last slash follows what --to says."""
    assert index_spelling("http://m:8080/pypi/simple") == "/simple"
    assert index_spelling("http://m:8080") == index_spelling("http://m/pypi/simple/") == "/simple/"
    assert turn('a = "https://pypi.org/simple/"', "uv.lock", BASE, index="/simple").text == f'a = "{BASE}/simple"'


@pytest.mark.parametrize(("text", "name"), [(UV, "uv.lock"), (PYLOCK, "pylock.toml"), (REQUIREMENTS, "r.txt")])
def test_turning_twice_changes_nothing(text, name):
    """What is at the mirror already is counted and left."""
    once = turn(text, name, BASE)
    twice = turn(once.text, name, BASE)
    assert (twice.text, twice.changed, twice.already) == (once.text, 0, once.changed)


def test_an_older_mirror_is_left_behind():
    """`--from` turns the URLs of another mirror, whatever its mount."""
    text = f'a = "http://old.acme.example:9000/pypi/{PATH}"\nb = "http://old.acme.example:9000/pypi/simple/"\n'
    done = turn(text, "uv.lock", BASE, (*KNOWN_HOSTS, "old.acme.example:9000"))
    assert tomllib.loads(done.text) == {"a": f"{BASE}/{PATH}", "b": f"{BASE}/simple/"}


@pytest.mark.parametrize(
    "url",
    ["https://evilpypi.org/simple", "https://pypi.org.evil.example/simple", "https://pypi.org@evil.example/simple",
     "https://evil.example/?x=https://pypi.org/simple", "git+https://pypi.org/simple", "https://pypi.org/other", "https://pypi.org:444x/simple"],
)  # fmt: skip
def test_only_known_hosts_are_turned(url):
    """A URL that merely looks like the index is reported, not turned."""
    done = turn(f'a = "{url}"\n', "uv.lock", BASE)
    assert (done.changed, len(done.elsewhere)) == (0, 1)


@pytest.mark.parametrize(
    ("given_url", "base"),
    [("http://m:8080", "http://m:8080/pypi"), ("http://m:8080/", "http://m:8080/pypi"), ("http://m/pypi/simple/", "http://m/pypi"),
     ("http://m/simple", "http://m/pypi"), ("https://m/torch", "https://m/torch")],
)  # fmt: skip
def test_the_mirror_may_be_named_in_any_way(given_url, base):
    """Origin, mount and index URL mean the same mirror."""
    assert mirror_base(given_url) == base


@pytest.mark.parametrize("url", ["mirror:8080", "ftp://m/pypi", "http://", "http://u:p@m/pypi", "http://m/pypi?x"])
def test_what_is_no_mirror_url_is_refused(url):
    """Before any file is read."""
    with pytest.raises(InputError):
        mirror_base(url)


@settings(max_examples=100, derandomize=True)
@given(st.text(max_size=60))
def test_other_strings_survive(text):
    """A string that is no URL comes back as it was."""
    document = f"a = {json.dumps(text, ensure_ascii=True)}\n"
    if "\\ud" in document or "\\u007f" in document:
        return
    assert turn(document, "x.toml", BASE).text == document or text.startswith(("http://", "https://"))


def test_the_command_writes_reports_and_checks(tmp_path):
    """Counts are said, --check answers 1 before and 0 after, line ends and mode stay."""
    lock = tmp_path / "pylock.toml"
    lock.write_bytes(PYLOCK.replace("\n", "\r\n").encode())
    lock.chmod(0o640)
    before = run("pylock.toml", "--to", BASE, "--check", cwd=tmp_path)
    assert before.returncode == 1
    assert "2 URLs would be turned" in before.stdout
    assert lock.read_bytes() == PYLOCK.replace("\n", "\r\n").encode()
    written = run("pylock.toml", "--to", BASE, "--json", cwd=tmp_path)
    assert (written.returncode, json.loads(written.stdout)["changed"]) == (0, 2)
    assert lock.read_bytes().count(b"\r\n") == PYLOCK.count("\n")
    assert lock.stat().st_mode & 0o777 == 0o640
    after = run("pylock.toml", "--to", BASE, "--check", cwd=tmp_path)
    assert (after.returncode, after.stderr) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["pylock.toml"]


def test_bad_files_are_all_named_and_nothing_is_written(tmp_path):
    """Exit 2 with file and line of every fault; the good file stays as it was."""
    (tmp_path / "uv.lock").write_text(UV)
    (tmp_path / "pylock.toml").write_text('a = 1\nb = "x\n')
    (tmp_path / "latin.lock").write_bytes(b"\xff")
    done = run("uv.lock", "pylock.toml", "latin.lock", "absent.lock", "--to", BASE, cwd=tmp_path)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert any(line.startswith("pylock.toml: line 2: not TOML") for line in lines)
    assert any(line.startswith("latin.lock: byte 0: not UTF-8") for line in lines)
    assert any(line.startswith("absent.lock: ") for line in lines)
    assert (tmp_path / "uv.lock").read_text() == UV


def test_output_leaves_the_file_alone(tmp_path):
    """`--output -` prints the turned text alone on standard output."""
    (tmp_path / "uv.lock").write_text(UV)
    done = run("uv.lock", "--to", BASE, "--output", "-", cwd=tmp_path)
    assert done.stdout == turn(UV, "uv.lock", BASE).text
    assert (tmp_path / "uv.lock").read_text() == UV
