"""A model on disk: a folder that can be read, checked and copied, and that runs no code when it is loaded.

`model.json` says what the model is and holds the SHA-256 of every other file; `weights.npz` holds plain arrays (read
with `allow_pickle=False`); `MODEL_CARD.md` tells people what it was trained on and how well it does.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from services.classify.models import encoder
from services.classify.models.calibration import Calibrator
from services.classify.models.features import Vocabulary
from services.classify.models.linear import LinearClassifier
from services.classify.models.meaning import Meaning
from services.classify.models.schooling import Schooling
from services.classify.models.tag_heads import TagHeads, heads_from

FORMAT = 3
"""formats 1 (words alone) and 2 (it was not kept what was learnt) are still read"""
KIND = "char-ngram-linear"
MAX_BYTES = 2 << 30
MAX_LABELS = 20_000
_MAX_JSON = 32 << 20
_ARRAYS = {"keys": np.uint64, "idf": np.float32, "weights": np.float32, "bias": np.float32}
_TAGS = {"tag_weights": np.float32, "tag_bias": np.float32}
"""further arrays of a model that has learnt tags"""
_SCHOOLING = {"seen": np.uint64, "held": np.uint64, "answered": np.int32}
"""further arrays of format 3"""
_MEANING: dict[str, dict[str, Any]] = {
    "": {},
    "pieces": {"landmarks": np.float32, "pull": np.float32, "pieces": np.float16},
    "encoder": {
        "landmarks": np.float32,
        "pull": np.float32,
        "pieces": np.float16,
        "mean": np.float32,
        "axes": np.float32,
    },
}
"""the further arrays, by what `meaning` of model.json says"""


class ModelFolderError(ValueError):
    """The folder holds no model that can be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """`model.json` without its arrays: `training` and `metrics` are shown as they are, `digest` names the whole folder
    (SHA-256 of model.json, which itself names the digest of every other file)."""

    version: str
    labels: tuple[str, ...]
    training: Mapping[str, Any]
    metrics: Mapping[str, Any]
    digest: str


def save(
    folder: Path, model: LinearClassifier, *, training: Mapping[str, Any], metrics: Mapping[str, Any], card: str
) -> ModelFacts:
    """Write the folder. model.json comes last and by rename, so a half-written folder is no model."""
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    arrays = {
        "keys": model.vocabulary.keys,
        "idf": model.vocabulary.idf,
        "weights": model.weights,
        "bias": model.bias,
        **_meaning_arrays(model.meaning),
        **_schooling_arrays(model.schooling),
        **({"tag_weights": model.tags.weights, "tag_bias": model.tags.bias} if model.tags is not None else {}),
    }
    np.savez(buffer, **arrays)
    files = {"weights.npz": buffer.getvalue(), "MODEL_CARD.md": card.encode()}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    body = {
        "format": FORMAT,
        "kind": KIND,
        "version": model.version,
        "labels": list(model.labels),
        "orders": list(model.vocabulary.orders),
        "meaning": "" if model.meaning is None else "pieces" if model.meaning.axes is None else "encoder",
        "schooling": model.schooling is not None,
        "tags": model.tags.to_json() if model.tags is not None else [],
        "encoder": encoder.ENCODER if model.meaning is not None else None,
        "calibration": model.calibrator.to_json(),
        "training": dict(training),
        "metrics": dict(metrics),
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    content = json.dumps(body, ensure_ascii=False, indent=1).encode()
    (folder / "model.json.part").write_bytes(content)
    (folder / "model.json.part").replace(folder / "model.json")
    return ModelFacts(model.version, model.labels, training, metrics, hashlib.sha256(content).hexdigest())


def load(folder: Path) -> tuple[LinearClassifier, ModelFacts]:
    """Read and check a folder. Raises ModelFolderError for anything that is not a sound model of this format."""
    body, facts = _read_facts(folder)
    files = body.get("files")
    if not isinstance(files, dict) or "weights.npz" not in files:
        raise ModelFolderError("model.json lists no weights.npz: copy the whole folder again")
    weights = b""
    for name, digest in files.items():
        if not isinstance(name, str) or Path(name).name != name or name in ("", ".", ".."):
            raise ModelFolderError(f"model.json names a file outside its folder: {str(name)[:80]!r}")
        content = _read(folder / name, MAX_BYTES)
        if hashlib.sha256(content).hexdigest() != digest:
            raise ModelFolderError(f"{name} is not the file that model.json was written with: copy the folder again")
        if name == "weights.npz":
            weights = content
    kind = body.get("meaning", "")
    if not isinstance(kind, str) or kind not in _MEANING:
        raise ModelFolderError("model.json has a meaning that this release does not know: train the model again")
    if kind == "encoder" and body.get("encoder") != encoder.ENCODER:
        raise ModelFolderError(f"the model needs the encoder {body.get('encoder')!r}: train it again with this release")
    schooled = body.get("schooling") is True
    try:
        heads = heads_from(body.get("tags", []))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFolderError(f"the tags of model.json are damaged ({error}): train the model again") from error
    further = {**_MEANING[kind], **(_SCHOOLING if schooled else {}), **(_TAGS if heads else {})}
    arrays = _read_arrays(weights, {**_ARRAYS, **further})
    try:
        orders = tuple(int(order) for order in body["orders"])
        calibrator = Calibrator.from_json(body["calibration"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFolderError(f"model.json is incomplete ({error}): train the model again") from error
    features, labels = len(arrays["keys"]), len(facts.labels)
    shapes = {"keys": (features,), "idf": (features,), "weights": (features, labels), "bias": (labels,)}
    if kind:
        landmarks, width = arrays["landmarks"].shape if arrays["landmarks"].ndim == 2 else (0, 0)
        shapes |= {"landmarks": (landmarks, width), "pull": (landmarks, labels)}
        directions = arrays["pieces"].shape[1] if arrays["pieces"].ndim == 2 else 0
        shapes |= {"pieces": (features, directions)}
        if kind == "encoder":
            shapes |= {"mean": (encoder.WIDTH,), "axes": (encoder.WIDTH, width - directions)}
        elif width != directions:
            raise ModelFolderError("the places of n-grams and of cases differ: train the model again")
    if schooled:
        held = len(arrays["held"])
        shapes |= {"seen": (arrays["seen"].size,), "held": (held,), "answered": (held,)}
    if heads:
        shapes |= {"tag_weights": (features, len(heads)), "tag_bias": (len(heads),)}
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise ModelFolderError(f"array {name} has shape {arrays[name].shape}, needs {shape}: train the model again")
    if calibrator.record and len(calibrator.record) != labels:
        raise ModelFolderError("the calibration is of other labels: train the model again")
    if not orders or not all(1 <= order <= 4 for order in orders) or np.any(np.diff(arrays["keys"]) == 0):
        raise ModelFolderError("the vocabulary is damaged: train the model again")
    if np.any(arrays["keys"][1:] < arrays["keys"][:-1]) or not all(
        np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == "f"
    ):
        raise ModelFolderError("the arrays are damaged: train the model again")
    vocabulary = Vocabulary(orders, arrays["keys"], arrays["idf"])
    model = LinearClassifier(
        facts.version,
        facts.labels,
        vocabulary,
        arrays["weights"],
        arrays["bias"],
        calibrator,
        meaning=_meaning(kind, arrays),
        schooling=_schooling(arrays, labels) if schooled else None,
        tags=TagHeads(heads, vocabulary, arrays["tag_weights"], arrays["tag_bias"]) if heads else None,
    )
    return model, facts


def _meaning_arrays(meaning: Meaning | None) -> dict[str, Any]:
    if meaning is None:
        return {}
    common: dict[str, Any] = {"landmarks": meaning.landmarks, "pull": meaning.pull}
    # half precision moves no place by more than a thousandth, and halves the largest array
    common["pieces"] = meaning.pieces.astype(np.float16)
    return common if meaning.axes is None else {**common, "mean": meaning.mean, "axes": meaning.axes}


def _schooling_arrays(schooling: Schooling | None) -> dict[str, Any]:
    if schooling is None:
        return {}
    return {"seen": schooling.seen, "held": schooling.held, "answered": schooling.answered}


def _schooling(arrays: Mapping[str, Any], labels: int) -> Schooling:
    seen, held, answered = arrays["seen"], arrays["held"], arrays["answered"]
    if any(np.any(keys[1:] <= keys[:-1]) for keys in (seen, held)) or np.any((answered < -1) | (answered >= labels)):
        raise ModelFolderError("what the model has learnt is damaged: train the model again")
    return Schooling(seen, held, answered)


def _meaning(kind: str, arrays: Mapping[str, Any]) -> Meaning | None:
    if not kind:
        return None
    return Meaning(arrays["landmarks"], arrays["pull"], arrays["pieces"], arrays.get("mean"), arrays.get("axes"))


def _read_facts(folder: Path) -> tuple[dict[str, Any], ModelFacts]:
    content = _read(folder / "model.json", _MAX_JSON)
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelFolderError("model.json is not JSON: train the model again") from error
    if not isinstance(body, dict) or body.get("format") not in (1, 2, FORMAT) or body.get("kind") != KIND:
        raise ModelFolderError(f"not a model of kind {KIND}, format {FORMAT}: train it with `make train`")
    version, labels = body.get("version"), body.get("labels")
    if not isinstance(version, str) or not 1 <= len(version) <= 120:
        raise ModelFolderError("model.json has no version: train the model again")
    if (
        not isinstance(labels, list)
        or not 1 <= len(labels) <= MAX_LABELS
        or not all(isinstance(label, str) and label for label in labels)
        or len(set(labels)) != len(labels)
    ):
        raise ModelFolderError("model.json needs a list of different labels: train the model again")
    training, metrics = body.get("training"), body.get("metrics")
    return body, ModelFacts(
        version,
        tuple(labels),
        training if isinstance(training, dict) else {},
        metrics if isinstance(metrics, dict) else {},
        hashlib.sha256(content).hexdigest(),
    )


def _read(path: Path, limit: int) -> bytes:
    try:
        if path.stat().st_size > limit:
            raise ModelFolderError(f"{path.name} is larger than {limit >> 20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise ModelFolderError(f"{path.name} cannot be read: copy the whole model folder") from error


def _read_arrays(content: bytes, kinds: Mapping[str, Any]) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
                raise ModelFolderError(f"weights.npz unpacks to more than {MAX_BYTES >> 20} MiB")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in kinds}
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError, OSError) as error:
        raise ModelFolderError(f"weights.npz cannot be read ({error}): copy the folder again") from error
    for name, kind in kinds.items():
        if found[name].dtype != kind:
            raise ModelFolderError(f"array {name} has type {found[name].dtype}, needs {np.dtype(kind)}")
    return found
