"""Scoring script of an Azure ML online endpoint: base64 of a photo in, label out, with the predictor of src/serve.py.

Deploy the whole repository, with models/ checked out, as the code folder and this file as the scoring script.
"""

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from landmarks.serving.predictor import Predictor

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "src"))
MODEL = "LANDMARKS_MODEL"  # environment variable of the deployment: the JSON of a model that dvc.lock records

predictor: "Predictor"


def init() -> None:
    """Load the model; Azure calls this once per worker. Raises ``InputError`` if the model is not the recorded one."""
    global predictor  # Azure requires two functions, which can share a global only
    from landmarks.serving import predictor as module

    os.chdir(ROOT)  # the path in cnn.module starts here
    predictor = module.load(Path(os.environ.get(MODEL, "models/plain.json")))


def run(data: str) -> dict[str, Any]:
    """``{"predictions": [...]}`` for ``{"instances": [{"b64": ...}]}``; ``{"error": ...}`` if one is no photo."""
    from landmarks.common.errors import InputError
    from landmarks.serving import uploads

    try:
        contents = [uploads.decode_base64(row["b64"]) for row in json.loads(data)["instances"]]
    except (ValueError, TypeError, KeyError, AttributeError):
        return {"error": 'a body like {"instances": [{"b64": "<base64 of a photo>"}]} is expected'}
    pictures = []
    for number, content in enumerate(contents):
        try:
            pictures.append(predictor.preprocess(content))
        except InputError as error:
            return {"error": f"instances[{number}]: {error}"}
    return {"predictions": [dataclasses.asdict(prediction) for prediction in predictor.predict(pictures, 3)]}
