"""What a repository's own files tell of where it comes from, read from files as tools write them."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.hubs.huggingface.headers import gguf_values, of_gguf, of_safetensors
from mirror.hubs.huggingface.prose import of_card
from mirror.hubs.huggingface.traces import of_adapter, of_config, of_merge, repository_named


def gguf(values: dict[str, object], *, version: int = 3) -> bytes:
    """The start of a GGUF file: texts, numbers (uint32) and lists of texts."""
    out = [b"GGUF", struct.pack("<IQQ", version, 0, len(values))]
    for key, value in values.items():
        out.append(struct.pack("<Q", len(key)) + key.encode())
        if isinstance(value, str):
            out.append(struct.pack("<IQ", 8, len(value.encode())) + value.encode())
        elif isinstance(value, int):
            out.append(struct.pack("<II", 4, value))
        else:
            words = [struct.pack("<Q", len(word)) + word.encode() for word in value]
            out.append(struct.pack("<IIQ", 9, 8, len(words)) + b"".join(words))
    return b"".join(out)


def safetensors(metadata: dict[str, str]) -> bytes:
    head = json.dumps({"__metadata__": metadata, "w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(head)) + head + bytes(4)


def names(traces):
    return [(one.name, one.relation) for one in traces]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("globex/solid-7b", "globex/solid-7b"), ("https://huggingface.co/globex/solid-7b/tree/main", "globex/solid-7b"),
        ("hf.co/globex/solid-7b", "globex/solid-7b"), ("globex/solid-7b@main", "globex/solid-7b"), ("gpt2", "gpt2"),
        ("/workspace/out/checkpoint-500", None), ("./out", None), ("~/models/x", None), ("C:\\models\\x", None),
        ("https://huggingface.co/datasets/acme/reviews", None), ("https://example.com/a/b", None), ("a/b/c", None), ("12", None), (7, None),
    ],
)  # fmt: skip
def test_names_links_and_paths_are_told_apart(text, name):
    """A name or a link into a repository means it; a path on somebody's disk, a dataset or another site means nothing."""
    assert repository_named(text) == name


def test_an_adapter_names_its_base():
    """`adapter_config.json` as PEFT writes it: one parent, by adapter."""
    assert names(of_adapter(b'{"base_model_name_or_path": "globex/solid-7b", "peft_type": "LORA"}')) == [("globex/solid-7b", "adapter")]
    assert of_adapter(b'{"base_model_name_or_path": "/mnt/base"}') == []
    assert of_adapter(b"[]") == of_adapter(b"{") == []


def test_a_configuration_names_what_it_was_loaded_from_and_its_towers():
    """`_name_or_path` at the top is a parent, in a part or as a tower a component; one word is a folder as likely as not."""
    body = {"_name_or_path": "globex/solid-7b", "mm_vision_tower": "hooli/eye", "text_config": {"_name_or_path": "initech/words"}}
    assert names(of_config(json.dumps(body).encode())) == [("globex/solid-7b", "unknown"), ("hooli/eye", "component"), ("initech/words", "component")]
    assert of_config(b'{"_name_or_path": "checkpoints"}') == []


MERGES = {
    "models": "models:\n  - model: acme/one\n  - model: acme/two+acme/lora\nmerge_method: ties\nbase_model: globex/base\n",
    "slices": "slices:\n  - sources:\n      - model: acme/one\n        layer_range: [0, 16]\n      - model: acme/two+acme/lora\nbase_model: {model: {path: globex/base}}\n",
    "experts": "base_model: globex/base\nexperts:\n  - source_model: acme/one\n    positive_prompts: [code]\n  - source_model: acme/two+acme/lora\n",
}


@pytest.mark.parametrize("layout", MERGES)
def test_a_merge_names_everything_that_went_into_it(layout):
    """Every layout of a mergekit configuration gives all of its models, adapters after `+` included."""
    assert {name for name, _ in names(of_merge(MERGES[layout].encode()))} == {"acme/one", "acme/two", "acme/lora", "globex/base"}
    card = f"# A merge\n\n```yaml\nmerge_method: slerp\n{MERGES[layout].replace('merge_method: ties', '')}\n```\n"
    assert {name for name, _ in names(of_card(card.encode(), parents=False))} == {"acme/one", "acme/two", "acme/lora", "globex/base"}


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("This model is a fine-tuned version of [globex/solid-7b](https://huggingface.co/globex/solid-7b) on reviews.", ("globex/solid-7b", "finetune")),
        ("This is a LoRA adapter for `globex/solid-7b`.", ("globex/solid-7b", "adapter")),
        ("GGUF quantizations of https://huggingface.co/globex/solid-7b", ("globex/solid-7b", "quantized")),
        ("It was distilled from [Solid](https://huggingface.co/globex/solid-7b).", ("globex/solid-7b", "distill")),
        ("| Base model | [Solid](https://huggingface.co/globex/solid-7b) |", ("globex/solid-7b", "unknown")),
        ("Fine-tuned from the base model globex/solid-7b", ("globex/solid-7b", "finetune")),
    ],
)
def test_a_card_that_says_what_it_was_made_from(sentence, found):
    """A sentence about this model that names a parent is read, with its relation."""
    assert names(of_card(f"---\nlicense: mit\n---\n# Title\n\n{sentence}\n".encode(), parents=True)) == [found]


@pytest.mark.parametrize(
    "sentence",
    [
        "Unlike others, this model is not fine-tuned from globex/solid-7b.",
        "We compared it with initech/chat, a fine-tuned version of globex/solid-7b.",
        "See [globex/solid-7b](https://huggingface.co/globex/solid-7b) for the larger sibling.",
        "Trained on [reviews](https://huggingface.co/datasets/acme/reviews).",
        "from_pretrained('globex/solid-7b')",
        "It comes without the draft model globex/solid-7b, and does not run with it.",
        "Unlike its sibling with the vision encoder globex/solid-7b it reads text only.",
    ],
)
def test_a_card_that_only_mentions_another_model(sentence):
    """Denials, comparisons, links and code are no parents."""
    assert of_card(f"# Title\n\n{sentence}\n".encode(), parents=True) == []


def test_a_card_names_parts_that_base_model_does_not_show():
    """A tower or a draft model that the text names is a component, also where parents are declared."""
    text = b"- Vision encoder: [eye](https://huggingface.co/hooli/eye)\n- Draft model: hooli/small-7b\n"
    assert names(of_card(text, parents=False)) == [("hooli/eye", "component"), ("hooli/small-7b", "component")]


def test_a_gguf_header_names_source_and_bases():
    """`general.source.*` is what was quantized, `general.base_model.N.*` what that came from; the tokenizer may be cut off."""
    head = gguf({
        "general.architecture": "llama", "general.base_model.count": 1, "general.base_model.0.name": "Solid 7b",
        "general.base_model.0.organization": "Globex", "general.base_model.0.repo_url": "https://huggingface.co/globex/solid-7b",
        "general.source.huggingface.repository": "initech/solid-7b-chat", "tokenizer.ggml.tokens": ["a"] * 5000,
    })  # fmt: skip
    assert names(of_gguf(head[:4000])) == [("initech/solid-7b-chat", "quantized"), ("globex/solid-7b", "unknown")]


def test_safetensors_metadata_names_a_base():
    """A trainer's own entry in `__metadata__` is read without the rest of the header."""
    whole = safetensors({"format": "pt", "base_model": "globex/solid-7b"})
    assert names(of_safetensors(whole)) == names(of_safetensors(whole[:90])) == [("globex/solid-7b", "unknown")]
    assert of_safetensors(safetensors({"format": "pt"})) == []


@given(st.binary(max_size=400))
def test_no_bytes_break_a_reader(body):
    """Whatever a file holds, a reader finds something or nothing, and raises nothing."""
    for reader in (of_adapter, of_config, of_merge, of_gguf, of_safetensors):
        reader(body)
        reader(b"GGUF\x03\x00\x00\x00" + body)
    of_card(body, parents=True)
    assert gguf_values(body) == {} or body.startswith(b"GGUF")


@pytest.mark.parametrize("count", [2**63, 2**32])
def test_a_gguf_header_that_claims_too_much_ends_at_its_bytes(count):
    """Counts and lengths that no file has cost nothing."""
    assert gguf_values(b"GGUF" + struct.pack("<IQQ", 3, 0, count) + struct.pack("<Q", count) + b"x") == {}
    array = struct.pack("<Q", 9) + b"general.x" + struct.pack("<IIQ", 9, 8, count)
    assert gguf_values(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + array) == {}
