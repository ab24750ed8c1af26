"""What cards say in the ways in which real cards were seen to say it (`tests/data/lineage/real_cards.csv`), in our own words."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

import pytest

from mirror.hubs.huggingface.prose import of_card, of_folders
from mirror.hubs.huggingface.traces import READERS, folder_of, of_config

from .test_traces import names

HUB = "https://huggingface.co"
BASE = f"[Solid]({HUB}/globex/solid-7b)"
ROOT = Path(__file__).parents[3]
CASES = ROOT / "tests" / "data" / "lineage" / "real_cards.csv"


def said(text: str, own: str = "acme/tuned-7b") -> list[tuple[str, str]]:
    return names(of_card(f"---\nlicense: mit\n---\n{text}\n".encode(), parents=True, own=own))


@pytest.mark.parametrize(
    ("text", "relation"),
    [
        (f"- **Finetuned from model:** {BASE}", "unknown"),
        ("- **Finetuned from model :** globex/solid-7b", "unknown"),
        (f"- **Finetuned from model [optional]:** {BASE}", "unknown"),
        (f"Original model: {HUB}/globex/solid-7b", "unknown"),
        (f"### Base Model\n\n{BASE}\n\n### Tokenizer\n\n(hooli/words-7b)[{HUB}/hooli/words-7b]", "unknown"),
        (f"Based on {BASE}.", "unknown"),
        (f"It's based on the {BASE} model, and was trained on news.", "unknown"),
        (f"**This is a finetuned version of [globex/solid-7b]({HUB}/globex/solid-7b/tree/main) for search.**", "finetune"),
        (f"Tuned-7B is a small language model fine-tuned from {BASE} with adapters.", "finetune"),
        (f"This repository contains **tuned_7b**, a fine-tuned version of the {BASE} model.", "finetune"),
        (f"We conducted continued pretraining with letters on the larger English model, {BASE}, and stopped early.", "finetune"),
        (f"The Model [acme/tuned-7b]({HUB}/acme/tuned-7b) was\nconverted to MLX format from\n{BASE} with a tool.", "quantized"),
        ("This model was converted to MLX format from [`globex/solid-7b`]() by hand.", "quantized"),
        (f"{HUB}/globex/solid-7b with ONNX weights, for browsers.", "quantized"),
        (f"This repository contains the conversion of {BASE} to the format of a runtime.", "quantized"),
        (f"EXL2 quants of [a misspelt/name-7b]({HUB}/globex/solid-7b/tree/main)", "quantized"),
        (f"Those are not all. These files are GPTQ 4bit model files for {BASE}.", "quantized"),
        ("The weights were converted with the following command:\n\n```\nconvert --model globex/solid-7b --output_dir out \\\n  --quantization int8\n```", "quantized"),
        ("These are LoRA adaption weights for globex/solid-7b. They were fine-tuned on the acme/letters-2 dataset.", "adapter"),
        (f"BF16 LoRA adapter for {BASE} fine-tuned on [letters]({HUB}/datasets/acme/letters).", "adapter"),
        ("These are controlnet weights trained on globex/solid-7b with a new conditioning.", "adapter"),
        (f"The following models were merged:\n* {BASE}\n* ./local-folder", "merge"),
        (f"基于 [工具](https://example.com/x) 框架，对 {BASE} 进行 LoRA 微调。", "finetune"),
    ],
)  # fmt: skip
def test_each_way_in_which_tools_and_people_say_it(text, relation):
    """A label, a heading, a list, a wrapped sentence, a command or another script: the one parent is found, with its relation."""
    assert said(text) == [("globex/solid-7b", relation)]


@pytest.mark.parametrize(
    "text",
    [
        "The weights were converted from Jax/Flax for convenience.",
        f"This model outperforms models fine-tuned from {BASE} by far.",
        f"Rival-7b is a model fine-tuned from {BASE}, which we like less.",
        "This model was fine-tuned using acme/letters-2 for three epochs.",
        f"To convert it yourself:\n\n```\nconvert --model globex/solid-7b --output_dir out\n```\n\nSee [docs]({HUB}/docs/convert).",
        f"Our model comes from the [family of models]({HUB}/models).",
        f"<!-- - **Finetuned from model:** {BASE} -->",
        f"<!--\n\n- **Finetuned from model:** {BASE}\n\n-->",
        f"This model was trained from scratch and not on the base model {BASE}.",
        f"Refer to the [original model card]({HUB}/globex/solid-7b) for the limits.",
    ],
)
def test_what_only_looks_like_it(text):
    """Frameworks with a slash, rivals, data sets, recipes for others, pages of the site, comments, pointers and what is denied are no parents."""
    assert said(text) == []


def test_old_names_of_one_word_are_read_behind_links_only():
    """`gpt2` is a repository; a word in a sentence is not."""
    assert said(f"This model is a fine-tuned version of [gpt2]({HUB}/gpt2) on letters.") == [("gpt2", "finetune")]
    assert said("This model is a fine-tuned version of gpt2 on letters.") == []


def test_a_folder_is_the_one_repository_of_that_name_in_the_card():
    """What a tool loaded from a disk is known where the card names exactly one repository called like the folder."""
    found = folder_of("adapter_config.json", b'{"base_model_name_or_path": "/data/models/solid-7b"}')
    assert found == ("/data/models/solid-7b", "adapter")
    card = f"It speaks like a pirate. Thanks to [Solid]({HUB}/globex/solid-7b) and [Words]({HUB}/hooli/words-7b)."
    assert names(of_folders(card.encode(), [found])) == [("globex/solid-7b", "adapter")]
    twice = card + f" Not to be confused with [ours]({HUB}/initech/solid-7b)."
    assert of_folders(twice.encode(), [found]) == []
    assert of_folders(b"See acme/checkpoint-500.", [("out/checkpoint-500", "unknown")]) == []
    assert folder_of("config.json", b'{"_name_or_path": "globex/solid-7b"}') is None


def test_parts_of_a_configuration_whatever_they_are_called():
    """A part that says what it was loaded from is a component, under any key."""
    assert names(of_config(b'{"_name_or_path": "./", "language": {"_name_or_path": "globex/solid-7b"}}')) == [("globex/solid-7b", "component")]


def test_the_real_cases_are_counted_as_the_documentation_says():
    """Every case has its source and its day, every reader named exists, and the documentation tells the counts of this table."""
    rows = list(csv.DictReader(CASES.read_text(encoding="utf-8").splitlines()))
    assert {row["outcome"] for row in rows} == {"found", "unknown", "nothing to find"}
    assert all(row["source"].startswith("https://") and re.fullmatch(r"\d{4}-\d\d-\d\d", row["read"]) for row in rows)
    assert {reader for row in rows for reader in row["read_by"].split()} <= {"declared", "card", *READERS}
    named = [row for row in rows if row["outcome"] != "nothing to find" and not row["said_in"].startswith("named without")]
    found = Counter(row["part"] for row in named if row["outcome"] == "found")
    asked = Counter(row["part"] for row in named)
    text = " ".join((ROOT / "docs" / "lineage.md").read_text(encoding="utf-8").split())
    for part in ("first", "second"):
        assert f"{found[part]} of {asked[part]}" in text
    assert f"{len(rows)} repositories" in text
    assert sum(found.values()) >= 0.9 * len(named)
