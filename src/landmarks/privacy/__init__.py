"""The privacy gate: face detection, redaction, and the check of what was written."""
