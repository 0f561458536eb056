"""What Headwater costs, measured beside the bare driver and its peers in one run: `python -m bench log`."""
