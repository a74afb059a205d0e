"""What OpenAPI says of ``/admin/rollout``."""

from __future__ import annotations

from typing import Any, get_args

import msgspec

from modelyard.serving.rollout.decide import MOVES
from modelyard.serving.rollout.rollout import Plan, State
from modelyard.serving.schemas import REFUSALS, refused

_TEXT, _NUMBER, _COUNT = {"type": "string"}, {"type": "number"}, {"type": "integer", "minimum": 0}
_UNUSABLE = "Where rollouts stand cannot be read or written now, or too many requests are waiting."
_TOLD = tuple(status for status in REFUSALS if status not in ("400", "403", "415", "422", "503"))
_TOLD_TO_GET = tuple(status for status in _TOLD if status not in ("408", "413"))


def described(start: type[msgspec.Struct], move: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the operations of the path: where the newest rollout stands; what starts one, or moves it.

    Parameters
    ----------
    start, move : type
        What a body is read as.
    """
    return {
        "get": {
            "operationId": "rollout",
            "summary": "Where the newest rollout stands",
            "responses": {
                **_answered(),
                **refused(*_TOLD_TO_GET, "403", _404="There was no rollout yet.", _503=_UNUSABLE),
            },
        },
        "post": {
            "operationId": "moveRollout",
            "summary": "Start a rollout, or move the newest one",
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": {"oneOf": [_start(start), _body(move, move={"enum": list(MOVES)})]},
                        "examples": {
                            "start": {"value": {"candidate": "yard/runs/k7/bundle", "plan": {"kind": "canary"}}},
                            "move": {"value": {"move": "rollback"}},
                        },
                    }
                },
            },
            "responses": {
                **_answered(),
                **refused(
                    *_TOLD,
                    _400="The body neither starts nor moves a rollout.",
                    _403="The key or token does not have this permission, or the server has no guard.",
                    _404="There is no rollout to tell of.",
                    _409="A rollout cannot be started with this candidate and plan, or moved so.",
                    _503=_UNUSABLE,
                ),
            },
        },
    }


def _answered() -> dict[str, Any]:
    arm = {"type": "object", "properties": dict.fromkeys(("path", "hash", "number"), _TEXT)}
    properties = {
        "id": _COUNT,
        "name": _TEXT,
        "plan": {"type": "object", "properties": _plan()},
        "stable": arm,
        "candidate": arm,
        "state": {"enum": list(get_args(State))},
        "step": _COUNT,
        **dict.fromkeys(("started", "stepped", "changed"), _NUMBER),
        "why": _TEXT,
        "share": {**_NUMBER, "minimum": 0, "maximum": 1},
        "looks": _COUNT,
        "unwatched": {"type": "boolean"},
        "last": {"type": ["object", "null"], "description": "The newest look, with what it read and decided."},
        "decisions": {"type": "array", "items": {"type": "object"}},
    }
    schema = {"type": "object", "required": list(properties), "properties": properties}
    return {"200": {"description": "Where it stands.", "content": {"application/json": {"schema": schema}}}}


def _start(start: type[msgspec.Struct]) -> dict[str, Any]:
    plan = {
        "type": "object",
        "properties": _plan(),
        "additionalProperties": False,
        "description": "What is left out is as the kind usually has it; times are seconds, shares fractions.",
    }
    candidate = {**_TEXT, "description": "Path of the candidate's bundle, where the server runs."}
    return _body(start, candidate=candidate, plan=plan)


def _body(kind: type[msgspec.Struct], **properties: Any) -> dict[str, Any]:
    """Return the schema of a body: of its members those that are given, the others as they are read."""
    read = _read_as(kind)
    return {**read, "properties": {**read["properties"], **properties}}


def _plan() -> dict[str, Any]:
    """Return the schemas of a plan's attributes, without the defaults: those hang on the kind."""
    properties: dict[str, Any] = _read_as(Plan)["properties"]
    return {name: {key: value for key, value in one.items() if key != "default"} for name, one in properties.items()}


def _read_as(kind: type) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.schema_components((kind,))[1][kind.__name__]
    return found
