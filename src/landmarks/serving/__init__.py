"""Prediction with a trained model: on the command line, over HTTP, on a page."""
