"""The repository of the working directory, by git's own program."""

import subprocess

_CODE = ("stages", "conf", "hydra_plugins", "dvc.yaml")


def ask(*words: str) -> str:
    """Return what `git WORDS` prints, stripped; empty outside a repository or without git.

    Not GitPython: two of the callers run in every stage, and git answers within 5 ms of its start.
    """
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if not done.returncode else ""


def commit(digits: int = 40) -> str:
    """Return the checked-out commit's hash, with at least so many digits; empty outside a repository."""
    return ask("rev-parse", f"--short={digits}", "HEAD")


def differs(*pathspecs: str) -> bool:
    """Return whether files differ from the commit; False outside a repository.

    Args:
        *pathspecs: Of the tracked files. Untracked ones count where code and recipes are: notes and the like
            elsewhere change no result.
    """
    tracked = ask("status", "--porcelain", "--untracked-files=no", "--", *pathspecs)
    return bool(tracked or ask("ls-files", "--others", "--exclude-standard", "--", *_CODE))
