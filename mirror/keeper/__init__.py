"""One keeper a node: what must have one owner, and how several worker processes share it over a socket (ADR 13).

`wire` is the language (pure), `link` a connection that speaks it. `service` and `airfield` are the keeper's side of it;
`forwarding`, `remote_flights` and `remote` are the worker's: the ports of `mirror.core` that are kept elsewhere.
"""
