"""The pure centre: nouns, errors, HTTP semantics and the ports that everything else plugs into.

Nothing here performs I/O, reads a clock or imports a third party; `now` is always an argument.
"""
