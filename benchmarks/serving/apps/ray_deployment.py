"""Ray Serve with its default settings: ``python ray_deployment.py GRAPH.json PORT``."""

import sys
import time

from graph import Graph
from ray import serve


@serve.deployment
class Packed:
    """A row by name."""

    def __init__(self, about):
        self.graph = Graph(about)

    async def __call__(self, request):
        """Answer a row."""
        return {"probabilities": self.graph.row(await request.json())}


if __name__ == "__main__":
    serve.start(http_options={"port": int(sys.argv[2])})
    serve.run(Packed.bind(sys.argv[1]))
    while True:
        time.sleep(60)
