"""Each guard against a trap, taken away in turn: its test must go red. Run by `make mutants`."""
