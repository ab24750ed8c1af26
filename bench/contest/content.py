"""What the upstreams hold: made the same way by every process, without a file on disk."""

from __future__ import annotations

import functools
import hashlib
import random
from dataclasses import dataclass

MODELS = {"small": "acme/small", "big": "acme/big", "many": "acme/many", "few": "acme/few", "cold": "acme/cold", "first": "acme/first"}
CONFIG_PATH = f"/{MODELS['small']}/resolve/main/config.json"
BIG_PATH = f"/{MODELS['big']}/resolve/main/model.safetensors"
_BLOCK = 16 * 1024 * 1024
_TAIL = 32


@dataclass(frozen=True)
class Amounts:
    """How much of everything: bytes and counts."""

    big: int = 1 << 30
    cold: int = 512 << 20
    cold_files: int = 60
    first: int = 8 << 20
    first_files: int = 120
    many: int = 1500
    few: int = 60
    page: int = 3000
    wheel: int = 20_000_000
    clients: int = 64
    slow: int = 1000
    entries: int = 1_000_000


QUICK = Amounts(
    big=128 << 20, cold=96 << 20, cold_files=24, first_files=24, many=150, few=20, clients=16, slow=200, entries=50_000
)


@functools.cache
def block():
    """16 MiB that no compression makes smaller."""
    return random.Random(20).randbytes(_BLOCK)


@dataclass(frozen=True)
class Bulk:
    """A large file that is nowhere: the block again and again, and an end of its own. `len()` is its size."""

    label: str
    size: int

    def __len__(self):
        return self.size

    @property
    def tail(self):
        """The last 32 bytes."""
        return hashlib.sha256(self.label.encode()).digest()

    @property
    def sha256(self):
        """The digest of the content, in hexadecimal."""
        digest = _until_tail(self.size).copy()
        digest.update(self.tail)
        return digest.hexdigest()

    def pieces(self, start, stop, step):
        """The bytes from `start` up to `stop`, at most `step` at a time."""
        whole, body = memoryview(block()), self.size - _TAIL
        while start < stop:
            if start >= body:
                yield self.tail[start - body : stop - body]
                return
            at = start % _BLOCK
            size = min(step, _BLOCK - at, body - start, stop - start)
            yield whole[at : at + size]
            start += size


@functools.cache
def _until_tail(size):
    digest = hashlib.sha256()
    for piece in Bulk("", size).pieces(0, size - _TAIL, _BLOCK):
        digest.update(piece)
    return digest


def config():
    """A model's config.json, about 700 bytes."""
    words = {
        "architectures": ["AcmeForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 1,
        "eos_token_id": 2, "head_dim": 128, "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
        "intermediate_size": 14336, "max_position_embeddings": 32768, "mlp_bias": False, "model_type": "acme",
        "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "pretraining_tp": 1,
        "rms_norm_eps": 1e-05, "rope_scaling": None, "rope_theta": 1000000.0, "tie_word_embeddings": False,
        "torch_dtype": "bfloat16", "transformers_version": "4.44.0", "use_cache": True, "vocab_size": 32768,
    }  # fmt: skip
    import json

    return json.dumps(words, indent=2).encode()


def big(amounts):
    """The large file that is measured warm."""
    return Bulk("big", amounts.big)


def cold(amounts, number):
    """A large file that is fetched once; each number is another content."""
    return Bulk(f"cold {number}", amounts.cold)


def cold_path(number):
    """Where it is found on the hub."""
    return f"/{MODELS['cold']}/resolve/main/cold-{number:03}.safetensors"


def first(amounts, number):
    """A file of medium size of which only the beginning is timed."""
    return Bulk(f"first {number}", amounts.first)


def first_path(number):
    """Where it is found on the hub."""
    return f"/{MODELS['first']}/resolve/main/first-{number:03}.safetensors"


def many(amounts, what="many"):
    """A repository of small files, of `many` or of a `few`: path to bytes."""
    maker = random.Random(21)
    files = {}
    for number in range(getattr(amounts, what)):
        rows = ", ".join(f'"{maker.getrandbits(64):016x}"' for _ in range(40))
        files[f"shard-{number // 100:02}/part-{number:04}.json"] = f'{{"part": {number}, "rows": [{rows}]}}\n'.encode()
    return files
