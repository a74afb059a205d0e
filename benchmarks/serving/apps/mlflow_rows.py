"""The graph as a model of MLflow's that takes rows by name: its code is the model, so that nothing is pickled."""

import mlflow
import numpy as np
from graph import Graph


class Packed(mlflow.pyfunc.PythonModel):
    """A frame of rows."""

    def load_context(self, context):
        """Load the graph."""
        self.graph = Graph(context.artifacts["about"])

    def predict(self, context, model_input, params=None):
        """Answer a frame."""
        numbers = model_input[self.graph.numbers].to_numpy(np.float32)
        return self.graph.matrices(numbers, model_input[self.graph.strings].to_numpy(object))


mlflow.models.set_model(Packed())
