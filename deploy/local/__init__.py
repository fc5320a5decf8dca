"""The two local stacks: `make run` (embedded log) and `make up` (separate processes on Apache Kafka).

Read in this order: `settings.py` (the variables), `folder.py` (what a data folder holds), `process.py` (one process and
its identity), `postgres.py`, `kafka/`, `gateway.py` (the programs), `supervisor.py` (keeps them running).
"""
