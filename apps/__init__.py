"""Applications on top of the pipeline: they bring images to a trained model and its answers to people."""
