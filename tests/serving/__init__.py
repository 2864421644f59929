"""Tests of landmarks.serving, predict.py, serve.py, deploy/ and the Dockerfile."""
