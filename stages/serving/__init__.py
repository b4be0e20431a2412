"""The model people get: a folder that holds all it takes from an image to a label, and MLflow around it."""
