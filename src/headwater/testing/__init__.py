"""What users and third-party backends test with."""
