"""Metrics, calibration, open-set rejection and comparisons over seeds. It reads predictions and knows no model."""
