"""A trained model that answers: for a command line, over HTTP, on a page."""
