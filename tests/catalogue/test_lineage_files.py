"""Relations between models as files."""

import pytest

from mirror.core.errors import InputError
from mirror.core.nouns import HUGGINGFACE, Kind, Project
from mirror.lists.loading import load_lineage

HEADER = "child,parent,relation,root,source,confidence\n"


def test_csv_and_yaml_say_the_same(tmp_path):
    """One relation in both formats gives one digest and one answer."""
    (tmp_path / "a.csv").write_text(HEADER + "globex/b,acme/a,quantized,acme/a,https://acme.example,B\n")
    (tmp_path / "a.yaml").write_text(
        "version: 1\nedges:\n  - {child: globex/b, parent: acme/a, relation: quantized, source: 'https://acme.example', confidence: B}\n"
    )
    one, other = load_lineage(tmp_path / "a.csv"), load_lineage(tmp_path / "a.yaml")
    assert one.digest == other.digest
    [ancestor] = one.parents(Project(HUGGINGFACE, Kind.MODEL, "globex/B"))
    assert (ancestor.project.name, ancestor.confidence) == ("acme/a", 9_000)


def test_all_faults_are_named_with_line_and_column(tmp_path):
    """Bad relation, grade, name and cells in excess are told together, each with its line; nothing is loaded."""
    file = tmp_path / "a.csv"
    file.write_text(HEADER + "globex/b,acme/a,cloned,,,B\n../x,acme/a,merge,,,B\ng/c,acme/a,merge,,,Z\ng/d,a/a,merge,,,A,extra\n")
    with pytest.raises(InputError) as caught:
        load_lineage(file)
    told = [str(problem).removeprefix(f"{file}: ") for problem in caught.value.problems]
    assert [text.partition(":")[0] for text in told] == ["line 2.relation", "line 3.child", "line 4.confidence", "line 5.(cells beyond the header)"]


def test_a_pair_stated_twice_and_a_model_that_is_its_own_parent_are_refused(tmp_path):
    """What the whole shows is told with both places."""
    file = tmp_path / "a.csv"
    file.write_text(HEADER + "g/b,a/a,merge,,,B\nG/B,A/A,finetune,,,B\na/a,A/a,merge,,,B\n")
    with pytest.raises(InputError) as caught:
        load_lineage(file)
    told = "\n".join(map(str, caught.value.problems))
    assert "line 3: pkg:huggingface/G/B from pkg:huggingface/A/A is already stated" in told
    assert "line 4: pkg:huggingface/a/a cannot be its own parent" in told
