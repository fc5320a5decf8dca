"""What two platforms need to talk to each other: the directory, signed requests, sealed contact data (api.md, "Between
platforms"). Who hands what to whom is decided elsewhere."""
