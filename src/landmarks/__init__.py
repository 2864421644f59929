"""What the stages are made of: one subject a module. Knows neither DVC nor the command line."""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # tensorflow-hub works with Keras 2 alone; read when tf.keras is first touched
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # else TensorFlow reports on every missing CUDA library
