"""What `headwater doctor` looks at: one file a kind of storage, and one for the log itself."""
