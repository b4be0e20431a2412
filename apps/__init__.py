"""Applications on top of the pipeline: they bring pictures to a trained model and its answers to people."""
