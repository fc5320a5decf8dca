"""Every error as one `application/problem+json` document (RFC 9457)."""

import http
import logging
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path
from starlette.types import Scope

from shared.errors import Problem, Transient
from shared.http.commands import unavailable

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}

RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {MEDIA_TYPE: {"schema": PROBLEM_SCHEMA}}}
    for status, text in (("4XX", "What the caller can mend"), ("5XX", "Nothing was stored; try again"))
}
"""documented on every route"""


def problem_response(problem: Problem) -> Response:
    """The document of a `Problem`."""
    body = {
        "type": "about:blank" if problem.status < 100 else f"urn:sushu:problem:{problem.code}",
        "title": http.HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "errors": problem.errors,
        **problem.extra,
    }
    return Response(
        orjson.dumps(body, default=str), status_code=problem.status, headers=problem.headers, media_type=MEDIA_TYPE
    )


def validation_problem(errors: Any, content_type: str | None = None) -> Problem:
    """422 (or 415) from pydantic's list of errors; the values themselves are never repeated."""
    places = []
    for error in errors:
        if error["type"] == "json_invalid":
            return invalid_json(content_type)
        where = [str(part) for part in error["loc"]]
        if where and where[0] == "body":
            where = where[1:]
        pointer = "/" + "/".join(where)
        places.append({"pointer": pointer, "detail": str(error["msg"]).removeprefix("Value error, ")})
        if (
            error["loc"] in (("body",), ["body"])
            and content_type is not None
            and "json" not in content_type.lower()
            and error["type"] != "missing"
        ):
            return _unsupported()
    first = places[0] if places else {"pointer": "/", "detail": "the body is missing"}
    return Problem(422, "invalid", f"{first['pointer']}: {first['detail']}", errors=places)


def invalid_json(content_type: str | None = None, what: str = "body") -> Problem:
    """422 for a body (or another `what`) that cannot be parsed; 415 when it does not even claim to be JSON."""
    if content_type is not None and "json" not in content_type.lower():
        return _unsupported()
    detail = f"The {what} is no JSON: check brackets, quotes and UTF-8."
    return Problem(422, "invalid_json", detail, errors=[{"pointer": "/", "detail": detail}])


def _unsupported() -> Problem:
    return Problem(415, "unsupported_media_type", "Send the body as `Content-Type: application/json`.")


def _methods(request: Request) -> list[str]:
    """The methods of all operations of this path (Starlette names those of the first route only)."""
    paths: dict[str, Any] = request.app.openapi()["paths"]
    asked = request.url.path
    found = [paths[asked]] if asked in paths else [i for p, i in paths.items() if compile_path(p)[0].match(asked)]
    return sorted({method.upper() for item in found for method in item})


def answer_of(error: Exception, scope: Scope) -> Response:
    """The problem document of whatever was raised while a request was handled."""
    match error:
        case Problem():
            return problem_response(error)
        case RequestValidationError():
            content_type = Request(scope).headers.get("content-type")
            return problem_response(validation_problem(error.errors(), content_type))
        case HTTPException():
            return problem_response(_of_http(error, scope))
        case ClientDisconnect():
            return problem_response(Problem(400, "bad_request", "The connection was lost before the body was there."))
        case Transient():
            log.warning("request refused, store or bus is away", extra={"error": str(error)})
            if scope["method"] in ("GET", "HEAD"):
                again = {"Retry-After": "1"}
                detail = "Store or bus is not available; ask again."
                return problem_response(Problem(503, "unavailable", detail, headers=again))
            return problem_response(unavailable("Store or bus is not available."))
        case _:
            log.error("request failed", exc_info=error)
            detail = "This is our fault; the log has it under the answer's traceparent."
            return problem_response(Problem(500, "internal", detail))


def _of_http(error: HTTPException, scope: Scope) -> Problem:
    codes = {404: "not_found", 405: "method_not_allowed", 400: "bad_request", 413: "too_large"}
    detail = error.detail if isinstance(error.detail, str) else str(error.detail)
    headers = dict(error.headers or {})
    if error.status_code == 404:
        detail = "There is nothing under this path; /docs lists what there is."
    elif error.status_code == 405:
        headers["Allow"] = ", ".join(_methods(Request(scope)))
        detail = f"This path takes {headers['Allow']}."
    return Problem(error.status_code, codes.get(error.status_code, "http_error"), detail, headers=headers)


def install(app: FastAPI) -> None:
    """Make every exception of `app` a problem document."""

    async def answer(request: Request, error: Exception) -> Response:
        return answer_of(error, request.scope)

    for kind in (Problem, RequestValidationError, HTTPException, Transient, Exception):
        app.add_exception_handler(kind, answer)
