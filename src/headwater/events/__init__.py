"""What an event is. Pure: nothing here opens, reads or waits."""
