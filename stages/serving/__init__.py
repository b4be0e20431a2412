"""The model people get: a folder that holds all it takes from a picture to a label, and MLflow around it."""
