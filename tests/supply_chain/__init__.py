"""Versions with hashes, licences, known weaknesses, other Pythons: `make lock licences audit test-pythons`."""
