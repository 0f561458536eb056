"""Real servers for tests: started on loopback, stopped with the test session, even one that is killed."""
