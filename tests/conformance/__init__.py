"""What each client gets from the mirror, feature by feature; `table` writes it down as docs/protocols/conformance.md."""
