"""A policy as a YAML file (`policies/default.yaml` shows the form): every fault with the line on which it stands."""

from collections.abc import Iterator

import yaml

from services.sla.domain.policy import Policy, PolicyError


class PolicyFileError(ValueError):
    """A file that is no usable policy. `line` counts from 1, `pointer` is a JSON pointer into the file."""

    def __init__(self, line: int, pointer: str, detail: str) -> None:
        super().__init__(f"line {line}: {pointer}: {detail}")
        self.line = line
        self.pointer = pointer
        self.detail = detail


def policy_of_file(raw: bytes) -> Policy:
    """Reads a policy. Raises `PolicyFileError` with the first fault."""
    try:
        root = yaml.compose(raw, yaml.SafeLoader)
        data = yaml.safe_load(raw)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or str(error)
        raise PolicyFileError(mark.line + 1 if mark else 1, "", f"the file is no YAML: {reason}") from error
    for line, pointer in _repeated(root, ""):
        raise PolicyFileError(line, pointer, "stands here for the second time; keep one of the two")
    try:
        return Policy.from_data(data)
    except PolicyError as error:
        raise PolicyFileError(_line_of(root, error.pointer), error.pointer, error.detail) from error


def _repeated(node: yaml.Node | None, pointer: str) -> Iterator[tuple[int, str]]:
    """Names that a table has twice: YAML would silently take the last."""
    if isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _repeated(value, f"{pointer}/{index}")
    elif isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            here = f"{pointer}/{key.value}"
            if here in seen:
                yield key.start_mark.line + 1, here
            seen.add(here)
            yield from _repeated(value, here)


def _line_of(node: yaml.Node | None, pointer: str) -> int:
    """Where a pointer leads, or the last part of it that is there."""
    line = node.start_mark.line if node is not None else 0
    for name in filter(None, pointer.split("/")):
        inside: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        if isinstance(node, yaml.MappingNode):
            inside = {str(key.value): (key, value) for key, value in node.value}
        elif isinstance(node, yaml.SequenceNode):
            inside = {str(index): (value, value) for index, value in enumerate(node.value)}
        if name not in inside:
            break
        key, node = inside[name]
        line = key.start_mark.line
    return int(line) + 1
