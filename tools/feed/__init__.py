"""`make feed`: sends another platform's export through the running hub's HTTP (docs/feed.md)."""
