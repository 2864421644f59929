"""The scoring script of an Azure ML online endpoint: base64 of a photo in, label out, by the predictor that src/serve.py has.

Deploy the whole repository, with models/ checked out, as the code folder and this file as the scoring script.
"""

import binascii
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
MODEL = "LANDMARKS_MODEL"  # an environment variable of the deployment: the JSON of a model that dvc.lock knows

predictor: "Predictor"


def init() -> None:
    """Called once a worker, before its first request. Raises ``InputError`` if the model is not the recorded one."""
    global predictor  # Azure asks for two functions, and this is what they share
    from landmarks.serving import predictor as module

    os.chdir(ROOT)  # cnn.module is a path from here
    predictor = module.load(Path(os.environ.get(MODEL, "models/plain.json")))


def run(data: str) -> dict[str, Any]:
    """Answer ``{"instances": [{"b64": ...}]}`` with ``{"predictions": [...]}``, what is wrong with ``{"error": ...}``."""
    from landmarks.common.errors import InputError

    try:
        contents = [binascii.a2b_base64(row["b64"], strict_mode=True) for row in json.loads(data)["instances"]]
    except (ValueError, TypeError, KeyError):
        return {"error": 'a body like {"instances": [{"b64": "<base64 of a photo>"}]} is expected'}
    squares = []
    for number, content in enumerate(contents):
        try:
            squares.append(predictor.square(content))
        except InputError as error:
            return {"error": f"instances[{number}]: {error}"}
    return {"predictions": [dataclasses.asdict(said) for said in predictor.predict(squares, 3)]}
