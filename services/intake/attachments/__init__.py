"""Files that belong to a case: what citizens send and what units prove. Stored sealed, outside the database.

`kinds.py` what a file is · `sealing.py`, `stores.py`, `s3.py` where it lies · `handlers.py`, `repository.py` which
case it belongs to and who may read it · `keeper.py` streams in and out, and what is cleaned up · `api.py` HTTP.
"""
