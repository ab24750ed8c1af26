"""How we answer: who asks, what is said, which bytes of it."""
