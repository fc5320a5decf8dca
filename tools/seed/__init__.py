"""`make seed`: a history of finished and open cases, as if the hub had run for months."""
