"""transformers and sentence-transformers at a hub.

Arguments: the name of the model, and a token that the gated one wants; then features, where not all are meant.
"""

from __future__ import annotations

import sys

import sentence_transformers
import torch
import transformers
from sentence_transformers import SentenceTransformer
from telling import tell
from transformers import AutoConfig, AutoModel, AutoTokenizer, GenerationConfig
from transformers.utils import cached_file

NAME, TOKEN, *ONLY = sys.argv[1:]
TEXTS = ["Goods wait under bond, and travel on when they may.", "An embargo."]


def embedded(**options: object) -> list[list[float]]:
    """The mean of the last hidden states, as the model's own card computes it."""
    tokenizer, model = AutoTokenizer.from_pretrained(NAME, **options), AutoModel.from_pretrained(NAME, **options)
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = model.eval()(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1)
    return rounded(((states * mask).sum(1) / mask.sum(1)).tolist())


def encoded(**options: object) -> list[list[float]]:
    return rounded(SentenceTransformer(NAME, device="cpu", **options).encode(TEXTS).tolist())


def rounded(rows: list[list[float]]) -> list[list[float]]:
    return [[round(value, 5) for value in row] for row in rows]


def config(name: str, **options: object) -> list[object]:
    found = AutoConfig.from_pretrained(name, **options)
    return [type(found).__name__, found.hidden_size, found.vocab_size]


tell(
    f"transformers {transformers.__version__}, sentence-transformers {sentence_transformers.__version__}, torch {torch.__version__}",
    {
        "embedded": embedded,
        "embedded again": lambda: embedded(local_files_only=True),
        "encoded": encoded,
        "encoded again": lambda: encoded(local_files_only=True),
        "encoded v1": lambda: encoded(revision="v1"),
        "config v1": lambda: config(NAME, revision="v1"),
        "config refs/pr/1": lambda: config(NAME, revision="refs/pr/1"),
        "config v9": lambda: config(NAME, revision="v9"),
        "renamed": lambda: config("acme/old-minilm"),
        "absent file": lambda: GenerationConfig.from_pretrained(NAME),
        "absent optional file": lambda: [cached_file(NAME, "nothing.json", _raise_exceptions_for_missing_entries=False)],
        "missing": lambda: config("acme/never-was", token=TOKEN),
        "missing to nobody": lambda: config("acme/never-was"),
        "missing, encoded": lambda: len(SentenceTransformer("acme/never-was", device="cpu", token=TOKEN)),
        "gate shut": lambda: config("acme/gated-minilm"),
        "gate open": lambda: config("acme/gated-minilm", token=TOKEN),
        "gate shut, encoded": lambda: len(SentenceTransformer("acme/gated-minilm", device="cpu")),
        "refused tokenizer": lambda: AutoTokenizer.from_pretrained("umbrella/minilm").vocab_size,
        "refused model": lambda: AutoModel.from_pretrained("umbrella/minilm").dtype,
        "refused config": lambda: config("umbrella/minilm"),
        "refused, encoded": lambda: len(SentenceTransformer("umbrella/minilm", device="cpu")),
        "refused pickle": lambda: str(AutoModel.from_pretrained("acme/pickled").dtype),
    },
    ONLY,
)
