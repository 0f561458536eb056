"""What a run is: its events, its legal transitions, its fold, and the rows that stand for it. No user code is run here."""
