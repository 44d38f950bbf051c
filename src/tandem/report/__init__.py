"""The report on a competition: one HTML page of the other stages' files; one module per section."""
