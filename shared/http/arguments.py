"""How the arguments of a route's function come out of a request, worked out once per route.

FastAPI works out from a function's signature what it takes, and documents it; for every request it then walks that
description again. `Arguments` is the same walk with the answers that never change looked up beforehand. It knows what
our routes take: scalars in path, query and headers, one JSON body, dependencies that are `async` functions of these.
"""

import inspect
from collections.abc import Mapping
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from fastapi import params
from fastapi.dependencies.models import Dependant
from pydantic import BaseModel
from starlette.datastructures import QueryParams
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

_NOWHERE: Mapping[str, Any] = {}
MISSING = object()
"""what is not in the request (a JSON `null` is)"""


class Asked:
    """One request while its arguments are collected."""

    __slots__ = ("_query", "errors", "known", "request", "response")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.errors: list[dict[str, Any]] = []
        """as pydantic reports them"""
        self.known: dict[Any, Any] = {}
        """values of the dependencies so far"""
        self.response: Response | None = None
        """where the function puts its status and headers; None when it does not ask for it"""
        self._query: Mapping[str, Any] | None = None

    @property
    def query(self) -> Mapping[str, Any]:
        if self._query is None:
            text = self.request.scope.get("query_string", b"")
            self._query = QueryParams(text) if text else _NOWHERE
        return self._query

    def own_response(self) -> Response:
        """An empty response without status."""
        if self.response is None:
            self.response = Response()
            self.response.raw_headers.clear()
            self.response.status_code = None  # type: ignore[assignment]
        return self.response


class Parameter:
    """One scalar of path, query or headers, or the JSON body."""

    def __init__(self, field: Any) -> None:
        place = field.field_info
        self.name: str = field.name
        self.field = field
        alias: str = field.validation_alias or field.alias
        self.required: bool = place.is_required()
        self.default = None if self.required else field.default
        if isinstance(place, params.Body):
            self.where = "body"
            self.loc: tuple[str, ...] = ("body",)
        else:
            if not _is_scalar(place.annotation) or place.default_factory is not None or place.validate_default:
                raise TypeError(f"{self.name}: {place.annotation} is no scalar")
            self.where = place.in_.value
            if self.where == "header" and place.alias is None and place.convert_underscores:
                alias = alias.replace("_", "-")
            self.loc = (self.where, alias)
        self.alias = alias
        self.header = alias.lower().encode()

    def read(self, asked: Asked) -> Any:
        """As it stands in the request, else `MISSING`."""
        if self.where == "path":
            return asked.request.scope["path_params"].get(self.alias, MISSING)
        if self.where == "query":
            return asked.query.get(self.alias, MISSING)
        text = first_header(asked.request, self.header)
        return MISSING if text is None else text

    def put(self, raw: Any, values: dict[str, Any], errors: list[dict[str, Any]]) -> None:
        """Validate `raw` into `values` or `errors`."""
        if raw is MISSING:
            if self.required:
                errors.append({"type": "missing", "loc": self.loc, "msg": "Field required", "input": None})
            else:
                values[self.name] = self.default
            return
        value, wrong = self.field.validate(raw, {}, loc=self.loc)
        if wrong:
            errors.extend(wrong)
        else:
            values[self.name] = value


class Arguments:
    """What one function, a route's or a dependency's, takes. Raises `TypeError` for what is not provided for."""

    def __init__(self, dependant: Dependant, *, top: bool = True) -> None:
        call = dependant.call
        if not inspect.iscoroutinefunction(call) and not inspect.iscoroutinefunction(type(call).__call__):
            raise TypeError(f"{call!r} is no `async def` without `yield`")
        if dependant.cookie_params or dependant.background_tasks_param_name or dependant.security_scopes_param_name:
            raise TypeError(f"{call!r} takes cookies, background tasks or security scopes")
        if dependant.body_params and not top:
            raise TypeError(f"{call!r}: only the route's own function takes the body")
        self.call: Any = call
        self.name = dependant.name
        self.request_name = dependant.request_param_name or dependant.http_connection_param_name
        self.response_name = dependant.response_param_name
        self.dependencies = [Arguments(one, top=False) for one in dependant.dependencies]
        fields = (*dependant.path_params, *dependant.query_params, *dependant.header_params)
        self.parameters = [Parameter(field) for field in fields]

    async def of(self, asked: Asked) -> dict[str, Any]:
        """The arguments but the body; what is wrong is added to `asked.errors`. Raises what a dependency raises."""
        values: dict[str, Any] = {}
        for one in self.dependencies:
            if one.call not in asked.known:
                wrong = len(asked.errors)
                arguments = await one.of(asked)
                if len(asked.errors) > wrong:
                    continue
                asked.known[one.call] = await one.call(**arguments)
            if one.name is not None:
                values[one.name] = asked.known[one.call]
        for parameter in self.parameters:
            parameter.put(parameter.read(asked), values, asked.errors)
        if self.request_name is not None:
            values[self.request_name] = asked.request
        if self.response_name is not None:
            values[self.response_name] = asked.own_response()
        return values


def first_header(request: HTTPConnection, name: bytes) -> str | None:
    """The header `name` (lower case), the first one of several."""
    for known, value in request.scope["headers"]:
        if known == name:
            text: str = value.decode("latin-1")
            return text
    return None


def _is_scalar(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        return all(_is_scalar(part) for part in get_args(annotation))
    if hasattr(annotation, "__metadata__"):
        return _is_scalar(annotation.__origin__)
    if origin is not None:
        return str(origin) == "typing.Literal"
    if not isinstance(annotation, type):
        return False
    return (
        annotation is NoneType
        or issubclass(annotation, Enum)
        or not issubclass(annotation, BaseModel | list | tuple | set | frozenset | dict)
    )
