"""JSON as the counter takes it: one meaning per document, and no document that a later room could choke on."""

import json
import math
import re
from collections.abc import Callable, Coroutine, Iterator
from email.message import Message
from functools import partial
from typing import Any, NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute

from app.api.limits import MAX_JSON_DEPTH
from app.api.parameters import QueryRules, refuse_unstorable_path
from app.api.threads import read_aside
from app.errors import Fault, InvalidBody, InvalidJson, UnsupportedMediaType

_INT64 = range(-(2**63), 2**63)
_INT64_DIGITS = 20
_BOM = b"\xef\xbb\xbf"
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_NAMEABLE_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,62}")


def parse_json(body: bytes, *, max_depth: int) -> Any:
    """Parse one document, strictly.

    Refused: anything but UTF-8, a byte order mark, NaN and Infinity, numbers beyond a double, integers beyond 64 bits,
    a key twice in one object, NUL and lone surrogates in strings, more than `max_depth` nested arrays and objects.

    Raises:
        InvalidJson: says the rule and, for broken syntax, the place; never what stood there.
    """
    text = _decode(body)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as fault:
        raise InvalidJson(_broken_syntax(fault)) from None
    except RecursionError:
        raise _too_deep(max_depth) from None
    _refuse_depth(value, max_depth)
    if "\\u" in text:
        _refuse_unstorable(value)
    return value


def _decode(body: bytes) -> str:
    if body.startswith(_BOM):
        raise InvalidJson("The body starts with a byte order mark; send UTF-8 without one.")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise InvalidJson(f"The body is not UTF-8: byte {fault.start} cannot be decoded.") from None


def _broken_syntax(fault: json.JSONDecodeError) -> str:
    rule = fault.msg.removesuffix(": ").removesuffix(" at")
    return f"{rule} at line {fault.lineno}, column {fault.colno}."


def _too_deep(max_depth: int) -> InvalidJson:
    return InvalidJson(f"The document is nested deeper than {max_depth} levels.")


def _constant(name: str) -> NoReturn:
    raise InvalidJson(f"{name} is not JSON; a missing value is null.")


def _float(literal: str) -> float:
    value = float(literal)
    if math.isinf(value):
        raise InvalidJson("A number is too large for a 64-bit float.")
    return value


def _int(literal: str) -> int:
    value = int(literal) if len(literal) <= _INT64_DIGITS else None
    if value is None or value not in _INT64:
        raise InvalidJson("An integer does not fit in 64 bits.")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidJson(_repeated_key([key for key, _ in pairs]))
    return found


def _repeated_key(keys: list[str]) -> str:
    key = next(key for key in keys if keys.count(key) > 1)
    named = f"The key '{key}'" if _NAMEABLE_KEY.fullmatch(key) else "A key"
    return f"{named} stands twice in one object."


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_int=_int, parse_constant=_constant)


def _members(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        return iter(value.values())
    return iter(value) if isinstance(value, list) else iter(())


def _refuse_depth(value: Any, max_depth: int) -> None:
    level = [value]
    for _ in range(max_depth):
        level = [inner for outer in level for inner in _members(outer) if isinstance(inner, dict | list)]
        if not level:
            return
    raise _too_deep(max_depth)


def _refuse_unstorable(value: Any) -> None:
    """Escapes can smuggle in what UTF-8 decoding refuses, and NUL, which PostgreSQL text cannot hold."""
    if isinstance(value, str):
        if _UNSTORABLE.search(value):
            raise InvalidJson("A string holds NUL or half of a surrogate pair.")
        return
    for key in value if isinstance(value, dict) else ():
        _refuse_unstorable(key)
    for inner in _members(value):
        _refuse_unstorable(inner)


class StrictRequest(Request):
    """A request whose `json()` is strict in form and in media type."""

    async def json(self) -> Any:
        """Parse the body once.

        Raises:
            UnsupportedMediaType: the body is not declared as `application/json` in UTF-8.
            InvalidBody: there is no body.
            InvalidJson: see `parse_json`.
        """
        if not hasattr(self, "_strict_json"):
            body = await self.body()
            if not body:
                raise InvalidBody("The body is empty; send a JSON document.", faults=[Fault("body", "is required")])
            require_media_type(self, "application/json")
            max_depth = getattr(self.app.state, "max_json_depth", MAX_JSON_DEPTH)
            self._strict_json = await read_aside(partial(parse_json, max_depth=max_depth), body)
        return self._strict_json


def media_type(request: Request) -> str:
    """Name the body's media type in lower case without parameters; an empty string where none is declared."""
    header = request.headers.get("content-type", "")
    return header.partition(";")[0].strip().lower()


def require_media_type(request: Request, *allowed: str) -> str:
    """Return the body's media type, which must be one of `allowed`, uncompressed, and in UTF-8 where it is text.

    Raises:
        UnsupportedMediaType: names the allowed ones.
    """
    message = Message()
    message["content-type"] = request.headers.get("content-type", "")
    charset = str(message.get_param("charset", "utf-8")).lower()
    plain = request.headers.get("content-encoding", "identity").lower() == "identity"
    found = media_type(request)
    if found not in allowed or charset not in ("utf-8", "utf8") or not plain:
        raise UnsupportedMediaType(f"Send {' or '.join(allowed)}, in UTF-8 where it is text, without Content-Encoding.")
    return found


class StrictRoute(APIRoute):
    """A route that reads its JSON strictly and takes each declared query parameter once and no other.

    Use as `APIRouter(route_class=StrictRoute)`. The body is parsed before FastAPI looks at it, because FastAPI turns
    whatever its own reading raises into an unnamed 400. Endpoints that take a raw `Request` get a `StrictRequest`.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()
        rules = QueryRules.of(self.dependant)
        body_field = self.body_field

        async def answer_strictly(request: Request) -> Response:
            strict = StrictRequest(request.scope, request.receive)
            refuse_unstorable_path(strict.scope["path"])
            rules.check(strict.query_params)
            if body_field is not None and (await strict.body() or body_field.field_info.is_required()):
                await strict.json()
            return await answer(strict)

        return answer_strictly
