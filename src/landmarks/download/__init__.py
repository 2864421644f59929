"""Photos fetched from URLs, files and archives: safely, politely, resumably."""
