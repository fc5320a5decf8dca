"""The runtime under fire: a ledger of what was promised, disturbances in a seeded order, and a judge from outside.

See docs/chaos.md.
"""
