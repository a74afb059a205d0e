"""LitServe with its default settings: ``python litserve_api.py GRAPH.json PORT``."""

import sys

import litserve
from graph import Graph


class Packed(litserve.LitAPI):
    """A row by name."""

    def setup(self, device):
        """Load the graph."""
        self.graph = Graph(sys.argv[1])

    def decode_request(self, request):
        """Take the row as it came."""
        return request

    def predict(self, row):
        """Answer a row."""
        return self.graph.row(row)

    def encode_response(self, output):
        """Answer with the probabilities."""
        return {"probabilities": output}


if __name__ == "__main__":
    litserve.LitServer(Packed(), accelerator="cpu").run(port=int(sys.argv[2]), generate_client_file=False)
