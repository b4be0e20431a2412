"""The Makefile's own checks; its targets are tested with the programs that they run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

# Without what an outer make hands on, `make test` for one.
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}


@pytest.mark.parametrize("target", ["find-learning-rate", "sweep", "predict", "replay"])
def test_a_missing_variable_is_named_before_anything_runs(target: str) -> None:
    # With JAX, as `make test-fast BACKEND=jax` hands KERAS_BACKEND on.
    installed = [
        word for name in ("stages", "sweep", "jax") for word in ("--old-file", f".venv/{name}.installed")
    ]
    words = ["make", *installed, target]
    done = subprocess.run(words, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: name ")
    assert f": make {target} " in done.stderr.splitlines()[0]


@pytest.mark.parametrize("word", ["Data=photos", "recipe=digits", "SETS=x=1", "RECIPES=digits", "MODEL=a"])
def test_a_mistyped_word_is_named_and_nothing_runs(word: str) -> None:
    """It was dropped, and the last params ran."""
    done = subprocess.run(
        ["make", "run", word], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f"make run takes no {word.partition('=')[0]}; it takes: DATA RECIPE SET VERBOSE" in done.stderr
    assert not done.stdout


def test_a_recipe_without_its_word_is_no_target() -> None:
    """The default recipe ran to its end first."""
    done = subprocess.run(
        ["make", "run", "flowers"], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "there is no target flowers; a recipe is named by RECIPE=flowers, images by DATA=" in done.stderr
    assert not done.stdout


@pytest.mark.parametrize(
    "words", [["results-cache", "EMPTY=yes"], ["clean-up", "YES=true"], ["run", "VERBOSE=2"]]
)
def test_a_switch_is_1_or_0(words: list[str]) -> None:
    """EMPTY=yes emptied nothing, without a word."""
    done = subprocess.run(
        ["make", *words], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    word, _, value = words[-1].partition("=")
    assert done.returncode == 2
    assert f"{word} is {value}; it is 1 or 0" in done.stderr


def test_a_replay_removes_no_work_that_is_not_committed(tmp_path: Path) -> None:
    """DVC sets it aside without a word."""
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "First"]):
        subprocess.run(["git", "-c", "user.name=A", "-c", "user.email=a@b", *words], cwd=tmp_path, check=True)
    for name in (".gitignore", "params.yaml", "dvc.lock"):
        (tmp_path / name).write_text(".venv\n.gitignore\n", encoding="utf-8")
    assert started(tmp_path, "replay", "RUN=lr") == [["dvc", "exp", "apply", "lr"]]
    (tmp_path / "my recipe.yaml").touch()
    with pytest.raises(subprocess.CalledProcessError) as refused:
        started(tmp_path, "replay", "RUN=lr")
    assert "replay would remove these changes" in refused.value.stderr
    assert "my recipe.yaml" in refused.value.stderr
    assert not refused.value.stdout


def test_a_variable_of_the_shell_is_no_word_of_the_command() -> None:
    """With the shell's RUN, `make replay` would replace the workspace."""
    probe = "probe: ; @echo '$(DATA)' \"$$DATA\" '$(RUN)'"
    words = ["make", "--eval=WORDS-probe := DATA", f"--eval={probe}", "probe"]
    environment = ENVIRONMENT | {"DATA": "/shell", "RUN": "shell"}
    outputs = [
        subprocess.run([*words, *more], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        for more in ([], ["DATA=/a b"])
    ]
    assert [done.stdout.strip() for done in outputs] == ["", "/a b /a b"]


def started(folder: Path, *words: str) -> list[list[str]]:
    """The words of each python and dvc that make starts."""
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    for name in ("python", "dvc"):
        script = f"#!{sys.executable}\nimport json, sys\nprint(json.dumps([{name!r}, *sys.argv[1:]]))\n"
        (programs / name).write_text(script, encoding="utf-8")
        (programs / name).chmod(0o755)
    installed = [
        word for name in ("stages", "sweep", "jax") for word in ("--old-file", f".venv/{name}.installed")
    ]
    for path in installed[1::2]:
        (folder / path).touch()
    done = subprocess.run(
        ["make", "--file", ROOT / "Makefile", *installed, *words],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "reached"),
    [
        (["run", "DATA=/a$b/my c"], ["run", "/a$b/my c"]),
        (["run", "SET=x=${seed} y=$(shell touch made)"], ["run", "--set", "x=${seed} y=$(shell touch made)"]),
        (["run", "VERBOSE=0"], ["run"]),
        (
            ["reproduce", "RECIPES=a b", "SEEDS=1 2", "SET=x='my images' y=1"],
            ["reproduce", "a", "b", "--seeds", "1", "2", "--set", "x='my images' y=1"],
        ),
        (["explain", "KEY=a$b"], ["explain", "a$b"]),
        (["results-cache", "EMPTY=0"], ["results_cache"]),
        (["results-cache", "EMPTY=1"], ["results_cache", "--empty"]),
        (
            ["predict", "MODEL=my $m", "FILES=a.jpg 'b c.jpg'"],
            ["predict_image", "--model", "my $m", "a.jpg", "b c.jpg"],
        ),
    ],
)
def test_a_value_reaches_the_program_as_it_was_written(
    tmp_path: Path, words: list[str], reached: list[str]
) -> None:
    tool, *values = reached
    assert started(tmp_path, *words) == [["python", "-m", f"stages.tools.{tool}", *values]]
    assert not (tmp_path / "made").exists()


def test_a_sweep_of_names_with_blanks(tmp_path: Path) -> None:
    assert started(tmp_path, "sweep", "RECIPE=a $b", "MEMBER=c d", "SPACE=my space.yaml") == [
        ["python", "-m", "stages.tools.sweep", "c d", "--recipe", "a $b", "--space", "my space.yaml"]
    ]


@pytest.mark.parametrize(("yes", "options"), [("YES=0", []), ("YES=1", ["--remove"])])
def test_a_clean_up_removes_with_yes_1_alone(tmp_path: Path, yes: str, options: list[str]) -> None:
    assert started(tmp_path, "clean-up", "DAYS=3", yes) == [
        ["python", "-m", "pipelines.worker.clean_up", "--days", "3", *options]
    ]


def test_data_that_no_run_has_seen_cannot_be_accepted(tmp_path: Path) -> None:
    words = ["make", "--file", ROOT / "Makefile", "accept-data"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: data/profile.json is missing; make run writes it\n")


def test_the_packages_of_airflow_are_audited_even_where_they_were_not_installed(tmp_path: Path) -> None:
    words = ["make", "--dry-run", "--old-file", ".venv/dev.installed", f"AIRFLOW={tmp_path}/none", "audit"]
    done = subprocess.run(words, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout.index("Installing Airflow") < done.stdout.index("pip-audit")


# They run stages or networks, or start an Airflow whose tasks do.
@pytest.mark.parametrize(
    "target",
    [
        "run",
        "reproduce",
        "find-learning-rate MEMBER=lenet",
        "sweep MEMBER=lenet",
        "preview",
        "predict FILES=a.jpg",
        "airflow",
        "bench",
    ],
)
@pytest.mark.parametrize(("backend", "installs"), [("tensorflow", False), ("jax", True)])
def test_a_target_that_uses_keras_installs_its_backend(
    target: str, backend: str, installs: bool, tmp_path: Path
) -> None:
    environments = [f"VENV={tmp_path}/none", f"AIRFLOW={tmp_path}/airflow"]
    words = ["make", "--dry-run", *environments, *target.split()]
    environment = ENVIRONMENT | {"KERAS_BACKEND": backend}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert ("requirements/jax.txt" in done.stdout) is installs


def test_help_lists_every_target() -> None:
    done = subprocess.run(
        ["make", "help"], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    listed = {line.split()[1] for line in done.stdout.splitlines()}
    declared = (ROOT / "Makefile").read_text(encoding="utf-8").partition("TARGETS := ")[2].partition("\n#")[0]
    assert listed == set(declared.replace("\\", " ").split())
