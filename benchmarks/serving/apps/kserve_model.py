"""KServe's SDK with its default settings: ``python kserve_model.py GRAPH.json PORT``."""

import sys

from graph import Graph
from kserve import Model, ModelServer


class Packed(Model):
    """Rows by name, as the first protocol has them."""

    def __init__(self, about):
        super().__init__("packed")
        self.graph = Graph(about)
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):
        """Answer rows."""
        return {"predictions": [self.graph.row(row) for row in payload["instances"]]}


if __name__ == "__main__":
    about, port = sys.argv[1], int(sys.argv[2])
    ModelServer(http_port=port, grpc_port=port + 1).start([Packed(about)])
