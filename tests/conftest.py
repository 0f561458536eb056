"""What every test may ask for."""

pytest_plugins = ["tests.servers.fixtures", "tests.every_backend"]
