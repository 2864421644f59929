"""Keypoint models: local features, encodings, classifiers, saved pipelines."""
