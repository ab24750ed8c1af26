"""What is looked after while the mirror runs: official lists and what becomes of them."""
