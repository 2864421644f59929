"""Tests of the keypoint models."""
