"""What a month of labels suggests about the tag dictionary: two tags that mean the same, one that nobody uses, a phrase
that emerges. Nothing changes before a person accepts, and what was accepted can be undone."""
