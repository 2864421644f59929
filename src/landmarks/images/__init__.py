"""Photos: decoded, ingested as JPEG, preprocessed, hashed by what they show."""
