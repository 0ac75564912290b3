"""From a recipe and conversations to a run."""
