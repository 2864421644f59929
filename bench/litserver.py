"""The same model behind LitServe, for bench/serve.py: python bench/litserver.py MODEL PORT BATCH.

The environment needs litserve and all of requirements.lock.
"""

import binascii
import sys
from pathlib import Path
from typing import Any

import cv2
import litserve
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "src"))


class Landmarks(litserve.LitAPI):  # type: ignore[misc]  # litserve is not installed where this is checked
    """TensorFlow Serving's row format with one photo; this project's decoding and network."""

    def setup(self, device: str) -> None:
        """Load the model, as src/serve.py does."""
        from landmarks.serving import predictor

        cv2.setNumThreads(1)
        self.predictor = predictor.load(Path(sys.argv[1]), lock=None, threads=1)

    def decode_request(self, request: dict[str, Any]) -> NDArray[np.uint8]:
        """A photo as the network takes it."""
        return self.predictor.preprocess(binascii.a2b_base64(request["instances"][0]["b64"]))

    def predict(self, pictures: Any) -> Any:
        """Probabilities for one photo, or for a batch of them."""
        return self.predictor.forward(pictures if pictures.ndim == 4 else pictures[None])[1]

    def encode_response(self, probabilities: NDArray[np.float32]) -> dict[str, Any]:
        """Label and confidence, in TensorFlow Serving's format."""
        prediction = self.predictor.to_prediction(probabilities.reshape(-1), 3)
        return {"predictions": [{"label": prediction.label, "confidence": prediction.confidence}]}


if __name__ == "__main__":
    batch = int(sys.argv[3])
    api = Landmarks(max_batch_size=batch, batch_timeout=0.002 if batch > 1 else 0.0)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="error")
