"""The Tune tab: data, settings and plan, the run while it goes on, and what is done with what came of it."""
