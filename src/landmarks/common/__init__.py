"""What every package stands on: errors, atomic files, parallel work, progress. It changes no result."""
