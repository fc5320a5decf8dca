"""Webhooks: the event feed, pushed. Signed, in order, at least once, tried again until a stated time is over."""
