"""The server, listening for real, over real logs."""
