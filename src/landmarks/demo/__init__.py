"""The synthetic demo dataset: its catalogue, its renderer, its backbone."""
