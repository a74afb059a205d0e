"""Adding the protocols to a server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from modelyard.serving.answerer import Answerer
from modelyard.serving.endpoint import Answer
from modelyard.serving.predict import Predict
from modelyard.serving.protocols.columnar import MEDIA_TYPES
from modelyard.serving.protocols.columns import Columns
from modelyard.serving.protocols.explain import PATH, Explain
from modelyard.serving.protocols.rows import Infer, InferVersion, Invocations
from modelyard.serving.terms import Terms


class Server(Protocol):
    """What protocols are added to."""

    answerer: Answerer
    terms: Terms
    ready: bool

    def add(self, route: str, answer: Answer, *, wanted: str = "predict", methods: Sequence[str] = ("POST",)) -> None:
        """Answer a path by a function of its own."""


def add_protocols(server: Server, predict: Predict) -> Explain:
    """Add every protocol beside ``/v1/predict``, and other media types to that.

    Parameters
    ----------
    server : Server
        Where.
    predict : Predict
        What answers JSON on ``/v1/predict``.

    Returns
    -------
    Explain
        To be closed with the server.
    """
    answerer, terms = server.answerer, server.terms
    columns = Columns(answerer, terms)
    predict.also.update({media_type.encode(): columns for media_type in MEDIA_TYPES})
    model = f"/v2/models/{answerer.router.stable.name}"
    infer = Infer(answerer, predict.slots, terms)
    server.add(f"{model}/infer", infer)
    versions = f"{model}/versions/"
    server.add(versions, InferVersion(infer, versions, lambda: server.ready), methods=("GET", "POST"))
    server.add("/invocations", Invocations(answerer, predict.slots, terms))
    explain = Explain(answerer, terms)
    server.add(PATH, explain, wanted="explain")
    return explain
