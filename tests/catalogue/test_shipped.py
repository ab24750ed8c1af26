"""The shipped data, through the loader that the product uses."""

import pytest

from mirror.core.nouns import HUGGINGFACE, PYPI, Kind, Project
from mirror.lists.loading import load_catalogue, load_lineage
from mirror.policy.lineage import Walk


@pytest.fixture(scope="module")
def shipped():
    return load_catalogue()


def test_the_shipped_catalogue_is_sound_and_knows_the_large_publishers(shipped):
    """It loads without a problem, and the handles that policies name first are in it with a country."""
    for handle in ("qwen", "deepseek-ai", "meta-llama", "mistralai", "google", "microsoft", "baai", "allenai"):
        publisher, _grade = shipped.publisher_of(Project(HUGGINGFACE, Kind.MODEL, f"{handle}/x"))
        assert shipped.countries_of(publisher), handle
    for name in ("torch", "vllm", "transformers"):
        publisher, grade = shipped.publisher_of(Project(PYPI, Kind.PACKAGE, name))
        assert grade in "ABC", (name, publisher.id)


def test_a_publisher_hidden_behind_a_brand_is_found_with_its_parent(shipped):
    """`Qwen` is Alibaba's: the name that lists know is among its parents."""
    publisher, _grade = shipped.publisher_of(Project(HUGGINGFACE, Kind.MODEL, "Qwen/Qwen3-8B"))
    assert any("Alibaba Group" in parent.entity for parent in shipped.parents_of(publisher))
    assert "CN" in {country.code for country in shipped.countries_of(publisher)}


def test_a_name_that_resembles_a_publisher_is_not_its(shipped):
    """`deepseek` on PyPI does not belong to DeepSeek: exact entries come before hints."""
    publisher, _grade = shipped.publisher_of(Project(PYPI, Kind.PACKAGE, "deepseek"))
    assert publisher.id != "deepseek"


def test_every_chain_of_the_shipped_lineage_ends_at_a_root():
    """Walking each child over the shipped edges alone meets neither loop nor depth."""
    lineage = load_lineage()
    assert len(lineage) > 300
    for child in ("agentica-org/DeepCoder-14B-Preview", "abacusai/Smaug-72B-v0.1"):
        walk = Walk(Project(HUGGINGFACE, Kind.MODEL, child))
        while wanted := walk.wanted():
            for project in wanted:
                walk.give(project, lineage.edges(project))
        assert walk.known
        assert walk.result()[-1].project.name.startswith("Qwen/")
