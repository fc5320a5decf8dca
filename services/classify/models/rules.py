"""Classification without a single labelled text: the catalogue's own names, synonyms and examples are the model.

Used until a model is there, and whenever one fails (domain.md: no model → rules only, marked `degraded`). Its
probabilities never reach a dispatch threshold, so a person always looks.
"""

from __future__ import annotations

import numpy as np

from services.classify.domain.catalogue import Catalogue, Matter
from services.classify.models.calibration import Calibrator
from services.classify.models.features import Vocabulary
from services.classify.models.linear import LinearClassifier

RULES_VERSION = "rules"
_CEILING = 0.6
_TEMPERATURE = 12.0


def rules_classifier(catalogue: Catalogue) -> LinearClassifier:
    """Cosine of TF-IDF character n-grams between the text and each matter's own words."""
    matters = sorted(catalogue.matters.values(), key=lambda matter: matter.code)
    texts = [_words_of(matter) for matter in matters]
    vocabulary = Vocabulary.fit(texts, orders=(1, 2, 3), min_texts=1)
    weights = vocabulary.encode(texts).matrix.T.toarray().astype(np.float32)
    return LinearClassifier(
        version=RULES_VERSION,
        labels=tuple(matter.code for matter in matters),
        vocabulary=vocabulary,
        weights=np.ascontiguousarray(weights),
        bias=np.zeros(len(matters), dtype=np.float32),
        calibrator=Calibrator(_TEMPERATURE, ceiling=_CEILING),
        degraded=True,
    )


def _words_of(matter: Matter) -> str:
    """Names and synonyms count twice: they are what the matter is, the examples are only how it sounds."""
    return " ".join((*matter.path[1:], matter.name, *matter.synonyms, *matter.synonyms, *matter.examples))
