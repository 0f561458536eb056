"""What a run is: its events, its legal transitions, its fold, and its rows. No user code is run here."""
