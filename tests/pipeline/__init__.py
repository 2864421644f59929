"""Tests of the whole pipeline, of DVC and git."""
