"""The content that a stand-in hub has when nobody asks for anything else. All names and tokens are invented.

| repository | what it is there for |
| --- | --- |
| acme/tiny-bert | the public model: git files, safetensors and pickle on LFS; two commits, a branch, a tag, a pull request |
| globex/solid-7b <- initech/solid-7b-chat <- hooli/solid-7b-merge <- quantbarn/solid-7b-merge-GGUF | lineage, three hops |
| umbrella/loop-a <-> umbrella/loop-b | a loop in `base_model` |
| umbrella/orphan | its parent does not exist |
| acme/gated-auto, acme/gated-manual, acme/secret, acme/disabled, acme/disabled-info, acme/region-blocked | refusals |
| acme/new-name | was acme/old-name and oldcorp/old-name |
| globex-community/solid2, tinybert | was `solid2`; a name of one segment that is still in use |
| Acme-Labs/CamelCase | for other spellings of the case |
| acme/odd-names, acme/many-files | file names and paging |
| umbrella/handed-on | `take_over(hub)` gives this name to another repository |
| acme/reviews, acme/gated-data (datasets), acme/demo (space), acme/fast-kernel (kernel) | the other kinds |
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .hub import StandInHub
    from .world import Repo

ALICE: Final = "hf_AliceStandInToken000000000000000001"
"""A valid token that may read everything gated and private."""
BOB: Final = "hf_BobStandInToken00000000000000000002"
"""A valid token that is on no list."""
CANARY: Final = b"CANARY-must-not-leave-"
"""In every file of a repository or kind that policies usually refuse, followed by the file's name."""

ODD_NAMES: Final = (
    *("hash#mark.txt", "per%cent.txt", "a b+c.txt", "ünï.txt", "q?uestion.txt", "amp&er=sand.txt", "semi;colon.txt"),
    *("percent%2Fencoded.txt", "very/deep/folder/tree/of/seven/levels.txt", "sp ace/in folder.txt", "empty.txt"),
    *("..dots.txt", 'quote"d.txt', "日本/語.txt", "back\\slash.txt", "plus+/x.txt"),
)
MANY: Final = 1205


def populate(hub: StandInHub) -> StandInHub:
    """Fill a hub with everything in the table above; the same seed gives the same bytes and ids."""
    hub.add_token(ALICE, "alice")
    hub.add_token(BOB, "bob")
    rng = random.Random(hub.seed)
    _public(hub, rng)
    _lineage(hub, rng)
    _refused(hub, rng)
    _names(hub, rng)
    _other_kinds(hub, rng)
    return hub


def card(data: dict[str, Any], text: str = "A model of the stand-in hub.") -> bytes:
    """A README with front matter (JSON is YAML)."""
    rows = "".join(f"{key}: {json.dumps(value)}\n" for key, value in data.items())
    return f"---\n{rows}---\n\n# Card\n\n{text}\n".encode()


def safetensors(rng: random.Random, values: int = 75_000) -> bytes:
    """A valid safetensors file of one float32 tensor."""
    size = values * 4
    meta = {"weight": {"dtype": "F32", "shape": [values], "data_offsets": [0, size]}, "__metadata__": {"format": "pt"}}
    head = json.dumps(meta).encode()
    head += b" " * (-len(head) % 8)
    return len(head).to_bytes(8, "little") + head + rng.randbytes(size)


def gguf(rng: random.Random, size: int = 200_000) -> bytes:
    """Bytes that begin like a GGUF file."""
    return b"GGUF" + (3).to_bytes(4, "little") + rng.randbytes(size)


def parquet(rng: random.Random, size: int = 90_000) -> bytes:
    """Bytes that begin and end like a Parquet file."""
    return b"PAR1" + rng.randbytes(size) + b"PAR1"


def model(hub: StandInHub, rng: random.Random, name: str, parents: tuple[str, ...] = (), **options: Any) -> Repo:
    """A small model whose card and tags state its parents (`relation` defaults to finetune)."""
    relation = options.pop("relation", "finetune")
    about = {"license": "apache-2.0", "language": ["en"], "pipeline_tag": "text-generation", **options.pop("card", {})}
    tags = ["transformers", "safetensors", "bert", f"license:{about['license']}", *options.pop("tags", [])]
    if parents:
        about |= {"base_model": list(parents), "base_model_relation": relation}
        tags += [f"base_model:{parent}" for parent in parents]
        tags += [f"base_model:{relation}:{parent}" for parent in parents]
    files = {"README.md": card(about), **_transformer_files(), **options.pop("files", {})}
    lfs = options.pop("lfs", None) or {"model.safetensors": safetensors(rng)}
    extra = {"pipeline_tag": "text-generation", "library_name": "transformers", "config": {"model_type": "bert"}}
    return hub.add_repo("model", name, files, lfs, card=about, tags=tags, extra=extra, **options)


def _transformer_files() -> dict[str, bytes]:
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *"abcdefghijklmnopqrstuvwxyz",
        *(f"word{i}" for i in range(300)),
    ]
    config = {"model_type": "bert", "architectures": ["BertModel"], "hidden_size": 8, "num_attention_heads": 2}
    config |= {"num_hidden_layers": 1, "intermediate_size": 16, "vocab_size": len(words)}
    return {
        ".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n*.bin filter=lfs diff=lfs merge=lfs -text\n",
        "config.json": json.dumps(config, indent=2).encode(),
        "tokenizer_config.json": json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True}).encode(),
        "special_tokens_map.json": b'{"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]"}',
        "vocab.txt": "\n".join(words).encode(),
    }


def _public(hub: StandInHub, rng: random.Random) -> None:
    lfs = {
        "model.safetensors": safetensors(rng),
        "pytorch_model.bin": CANARY + b"pytorch_model.bin" + rng.randbytes(120_000),
    }
    first = model(hub, rng, "acme/tiny-bert", lfs=lfs, likes=120, downloads=9000)
    first.git_tags["v1.0"] = first.head
    first.push({"config.json": _transformer_files()["config.json"] + b"\n"}, title="Add a newline")
    first.push({"proposal.txt": b"a proposal\n"}, ref="refs/pr/1", title="A pull request")
    first.push({"notes.txt": b"an experiment\n"}, ref="feature/x", title="An experiment")
    model(hub, rng, "umbrella/handed-on")


def _lineage(hub: StandInHub, rng: random.Random) -> None:
    model(hub, rng, "globex/solid-7b", card={"license": "mit"})
    model(hub, rng, "initech/solid-7b-chat", ("globex/solid-7b",))
    model(hub, rng, "hooli/solid-7b-merge", ("initech/solid-7b-chat", "acme/tiny-bert"), relation="merge")
    quants = {f"solid-7b-merge-{kind}.gguf": gguf(rng) for kind in ("Q4_K_M", "Q8_0")}
    quant = ("hooli/solid-7b-merge",)
    model(hub, rng, "quantbarn/solid-7b-merge-GGUF", quant, relation="quantized", tags=["gguf"], lfs=quants)
    model(hub, rng, "quantbarn/solid-7b-adapter", ("globex/solid-7b",), relation="adapter")
    model(hub, rng, "umbrella/loop-a", ("umbrella/loop-b",))
    model(hub, rng, "umbrella/loop-b", ("umbrella/loop-a",))
    model(hub, rng, "umbrella/orphan", ("umbrella/never-was",))


def _refused(hub: StandInHub, rng: random.Random) -> None:
    files = {"notes.txt": CANARY + b"notes.txt"}
    lfs = {"model.safetensors": safetensors(rng), "weights.bin": CANARY + b"weights.bin" + rng.randbytes(90_000)}
    cases: dict[str, dict[str, Any]] = {
        "acme/gated-auto": {"gated": "auto", "tokens_allowed": [ALICE]},
        "acme/gated-manual": {"gated": "manual", "tokens_allowed": [ALICE]},
        "acme/secret": {"private": True, "tokens_allowed": [ALICE]},
        "acme/disabled": {"disabled": True},
        "acme/disabled-info": {"disabled": "info"},
        "acme/region-blocked": {"region_block": ["US"]},
    }
    for name, options in cases.items():
        model(hub, rng, name, files=files, lfs=dict(lfs), **options)


def _names(hub: StandInHub, rng: random.Random) -> None:
    model(hub, rng, "acme/new-name", renamed_from=["acme/old-name", "oldcorp/old-name"])
    model(hub, rng, "globex-community/solid2", renamed_from=["solid2"])
    model(hub, rng, "tinybert")
    model(hub, rng, "Acme-Labs/CamelCase")
    odd = {name: b"" if name == "empty.txt" else f"content of {name}\n".encode() for name in ODD_NAMES}
    large = {"large #1 100%.bin": rng.randbytes(70_000), "empty.bin": b""}
    hub.add_repo("model", "acme/odd-names", {"README.md": card({"license": "mit"}), **odd}, large, tags=["license:mit"])
    many = {f"shard-{i // 100:02}/part-{i:05}.txt": f"{i}\n".encode() for i in range(MANY)}
    hub.add_repo("model", "acme/many-files", many, tags=["license:mit"])


def _other_kinds(hub: StandInHub, rng: random.Random) -> None:
    about = {"license": "cc-by-nc-4.0", "configs": [{"config_name": "default", "data_files": "data/*.csv"}]}
    files = {"README.md": card(about, "A dataset."), "data/train.csv": b"text,label\n" + b"good,1\nbad,0\n" * 200}
    converted = {"default/train/0000.parquet": parquet(rng)}
    tags = ["license:cc-by-nc-4.0", "format:csv"]
    data = hub.add_repo(
        "dataset", "acme/reviews", files, {"extra/reviews.parquet": parquet(rng)}, card=about, tags=tags
    )
    data.push(lfs=converted, delete=list(data.commits[data.head].files), ref="refs/convert/parquet", title="Convert")
    secret = {"data.csv": CANARY + b"data.csv"}
    hub.add_repo("dataset", "acme/gated-data", secret, gated="auto", tokens_allowed=[ALICE], tags=["license:other"])
    app = {"README.md": card({"sdk": "gradio", "app_file": "app.py"}, "A space."), "app.py": b"print('hello')\n"}
    hub.add_repo("space", "acme/demo", app, card={"sdk": "gradio"}, tags=["gradio"])
    build = {"README.md": card({"license": "mit"}), "build/torch-universal/fast_kernel/__init__.py": b"x = 1\n"}
    hub.add_repo("kernel", "acme/fast-kernel", build, tags=["kernel", "license:mit"])


def take_over(hub: StandInHub) -> Repo:
    """Give `umbrella/handed-on` to a stranger: the same name, another `_id`, other bytes."""
    rng = random.Random(hub.seed + 1)
    return model(hub, rng, "umbrella/handed-on", files={"config.json": b'{"model_type": "stranger"}'})
