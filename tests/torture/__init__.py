"""Campaigns that kill runs and feed broken input, and count the faults: `make torture` and, in short, `make test`."""
