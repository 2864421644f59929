"""The same model behind LitServe, for bench/serve.py: python bench/litserver.py MODEL PORT BATCH, in an environment that has both."""

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


class Landmarks(litserve.LitAPI):
    """The row form of one photo: our decoding, our network."""

    def setup(self, device: str) -> None:
        """Load the model, as src/serve.py does."""
        from landmarks.serving import predictor

        cv2.setNumThreads(1)
        self.predictor = predictor.load(Path(sys.argv[1]), None, threads=1)  # as ours

    def decode_request(self, request: dict[str, Any]) -> NDArray[np.uint8]:
        """A photo as the network sees it."""
        return self.predictor.square(binascii.a2b_base64(request["instances"][0]["b64"]))

    def predict(self, squares: Any) -> Any:
        """Probabilities: of one photo, or of a batch of them."""
        return self.predictor.run(squares if squares.ndim == 4 else squares[None])[1]

    def encode_response(self, shares: NDArray[np.float32]) -> dict[str, Any]:
        """The answer."""
        said = self.predictor.answer(shares.reshape(-1), 3)
        return {"predictions": [{"label": said.label, "confidence": said.confidence}]}


if __name__ == "__main__":
    batch = int(sys.argv[3])
    api = Landmarks(max_batch_size=batch, batch_timeout=0.002 if batch > 1 else 0.0)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="error")
