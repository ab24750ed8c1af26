"""The Hugging Face dialect: its URLs, its documents, the facts they reveal, and how it says no."""
