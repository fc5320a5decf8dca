"""Hand-overs over HTTP: intake speaks with the other platforms, dispatch decides (domain.md, Dispatch 6)."""
