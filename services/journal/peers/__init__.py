"""Events of the platforms below: pulled from their journals, published on `peer.<stream>.v1` (ADR 0028)."""
