"""Shared helpers of every room: logging, files, errors, threads, plug-ins. Imports nothing else of Convoy."""
