"""What people read: plots, the report, the cards."""
