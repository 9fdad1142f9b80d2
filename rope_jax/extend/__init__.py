"""Extension: longer contexts for a model that is there already."""
