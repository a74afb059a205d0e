"""MLServer's runtime: the Open Inference Protocol with a tensor for each input of the graph."""

import numpy as np
from graph import Graph
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceResponse


class Packed(MLModel):
    """Two tensors in, one out."""

    async def load(self):
        """Load the graph."""
        self._graph = Graph(self.settings.parameters.uri)
        return True

    async def predict(self, payload):
        """Answer rows."""
        sent = {one.name: one for one in payload.inputs}
        numbers = NumpyCodec.decode_input(sent["numbers"]).astype(np.float32)
        strings = np.array(StringCodec.decode_input(sent["strings"]), dtype=object).reshape(len(numbers), -1)
        answer = NumpyCodec.encode_output("answer", self._graph.matrices(numbers, strings))
        return InferenceResponse(model_name=self.name, outputs=[answer])
