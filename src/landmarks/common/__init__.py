"""Shared by all packages: errors, statuses, atomic files, parallel work, progress, cached results. It changes no result."""
