"""Side-by-side measurements: content, upstreams, servers, load and tables. `bench.rivals` is the command."""
