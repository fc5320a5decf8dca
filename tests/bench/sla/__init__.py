"""What the benches of deadlines share: servers and workers that can be killed, orders, what sla said, its judge."""
