"""The only place that runs a model."""
