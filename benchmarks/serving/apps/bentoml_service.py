"""BentoML with its default settings: ``bentoml serve bentoml_service:Packed``, with BENCH_GRAPH in the environment."""

import os

import bentoml
from graph import Graph


@bentoml.service
class Packed:
    """A row by name; a coroutine, which costs less than BentoML's thread for a plain function."""

    def __init__(self):
        self.graph = Graph(os.environ["BENCH_GRAPH"])

    @bentoml.api
    async def predict(self, row: dict) -> dict:
        """Answer a row."""
        return {"probabilities": self.graph.row(row)}
