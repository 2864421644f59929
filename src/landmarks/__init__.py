"""What the stages are made of: one subject a module. Knows neither DVC nor the command line."""
