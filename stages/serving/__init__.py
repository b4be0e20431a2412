"""The served model: a folder that holds all from an image to a label, its registry, and its judging."""
