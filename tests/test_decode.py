"""The door for outside data: YAML without traps, nouns without unknown keys, every fault at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import pytest

from mirror.core.errors import InputError
from mirror.decode import decode, load_yaml


@dataclass(frozen=True, slots=True)
class Inner:
    x: int
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outer:
    name: str
    inner: tuple[Inner, ...] = ()
    one: Inner | None = None


def test_yaml_values_are_those_of_the_core_schema():
    """NO, on and 01 are texts, true is true, a date is a date."""
    assert load_yaml("[NO, on, 01, 7, 1.5, true, null, 2027-01-31, 12e45, '7', 2027-02-30]", "f") == [
        "NO", "on", "01", 7, 1.5, True, None, date(2027, 1, 31), "12e45", "7", "2027-02-30"]


HOSTILE = [
    ("a: 1\nb: {c: 1, c: 2}\na: 2", "f: line 2: duplicate key 'c'\nf: line 3: duplicate key 'a'"),
    ("[" * 5000, "f: line 1: nested deeper than 64 levels"),
    ("- " * 5000 + "x", "f: line 1: nested deeper than 64 levels"),
    ("a: &a [*a]", "f: line 1: alias 'a' contains itself"),
    ("a: *b", "f: line 1: alias 'b' names no anchor"),
    ("a: !!python/object/apply:os.system [x]", "f: line 1: unknown tag 'tag:yaml.org,2002:python/object/apply:os.system'"),
    ("a: 1\n---\nb: 2", "f: line 2: more than one document in the file"),
    ("a: &x {b: 1}\nc: {<<: *x}", "f: line 2: merge keys (<<) are not supported"),
    ("a: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(f"b{n}: &a{n + 1} [{','.join([f'*a{n}'] * 10)}]\n" for n in range(9)), "values (aliases written out)"),
    ("a: [1", "f: line 2: not YAML"), ("a: \x00", "f: not YAML"), ("? [a]\n: b", "f: line 1: a key must be text"),
]


@pytest.mark.parametrize(("text", "message"), HOSTILE)
def test_hostile_yaml_gets_one_clear_error(text, message):
    """This text is refused with this message, without exhausting anything."""
    with pytest.raises(InputError) as caught:
        load_yaml(text, "f")
    assert message in str(caught.value)


def test_an_alias_used_honestly_is_its_value():
    """Anchors and aliases work below the bounds."""
    assert load_yaml("a: &a [1, 2]\nb: *a", "f") == {"a": [1, 2], "b": [1, 2]}


def test_every_fault_is_found_with_its_place():
    """Unknown keys at every depth, wrong types and missing keys come together."""
    with pytest.raises(InputError) as caught:
        decode(Outer, {"nmae": 1, "inner": [{"x": "q", "z": 1}, 3], "one": {"words": ["a"]}}, "f", "rules[3]")
    lines = {str(problem) for problem in caught.value.problems}
    assert "f: rules[3].nmae: unknown key 'nmae'; did you mean 'name'?" in lines
    assert "f: rules[3].name: is required" in lines
    assert "f: rules[3].inner[0].z: unknown key 'z'" in lines
    assert "f: rules[3].inner[1]: expected a mapping, found 3" in lines
    assert "f: rules[3].one.x: is required" in lines


def test_sound_data_becomes_the_noun():
    """Lists become tuples and mappings dataclasses."""
    assert decode(Outer, {"name": "a", "inner": [{"x": 1, "words": ["b"]}]}, "f") == Outer("a", (Inner(1, ("b",)),))
