"""Linear classifiers of more vectors than an exact solver can bear."""
