"""The parts of `make run`: what to run, checks, an estimate, DVC with a line per stage, the end."""
