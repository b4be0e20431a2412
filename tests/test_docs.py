"""Every command on README and docs exists, its words parse, and a test runs it or a reason says why not."""

import ast
import inspect
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import hydra
import pytest
from dvc.cli.parser import get_main_parser

from stages import cli
from tests.paths import ROOT

PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
# How many words name a command; the rest are its arguments.
NAMES = {"make": 2, "dvc": 2, "python": 3, "mlflow": 2, "kubectl": 2, "helm": 2, "curl": 1}
GROUPS = {("dvc", "exp"), ("dvc", "queue"), ("dvc", "plots"), ("mlflow", "models")}

# What runs a command: a file of the tests or of CI, which has the text after the colon; or "not run: ", why.
RUN_BY = {
    "curl": "tests/serving/test_server.py: invocations",
    "docker/base.sh": "tests/docker/conftest.py: docker/base.sh",
    "docker/compose.sh": "tests/docker/stack.py: docker/compose.sh",
    "docker/images.sh": "tests/docker/test_stack.py: docker/images.sh",
    "docker/with-cluster.sh": "not run: minutes to build a cluster; make e2e-kubernetes runs it",
    "docker/with-engine.sh": "tests/docker/test_with_engine.py: with-engine.sh",
    "dvc checkout": "not run: DVC's own; links what an earlier version copied",
    "dvc exp run": "tests/dvc_clone.py: \"exp\", \"run\"",
    "dvc exp show": "not run: DVC's own, reads what test_pipeline writes",
    "dvc gc": "tests/pipelines/test_clean_up.py: objects of DVC's cache",
    "dvc plots show": "tests/test_pipeline.py: \"plots\", \"show\"",
    "dvc queue start": "not run: a grid of whole pipelines, and DVC's own",
    "dvc remote": "tests/kubernetes/test_remotes.py: \"dvc\", \"remote\"",
    "dvc repro": "tests/dvc_clone.py: \"repro\"",
    "helm repo": "not run: Helm is in no registry within reach; tests/kubernetes/page.py has a stand-in",
    "helm upgrade": "not run: as above; tests/kubernetes/airflow.py starts what the chart would",
    "kubectl --namespace": "tests/kubernetes/page.py: follow",
    "kubectl apply": "tests/kubernetes/page.py: follow",
    "kubectl create": "tests/kubernetes/page.py: follow",
    "make accept-data": "tests/test_makefile.py: accept-data",
    "make airflow": "tests/pipelines/e2e/conftest.py: pipelines.local",
    "make audit": ".ci/run: make audit",
    "make bench": "tests/benchmarks/test_benchmarks.py: benchmarks",
    "make clean": "not run: removes folders; tests/tools/test_run.py refuses images in them",
    "make clean-up": "tests/pipelines/test_clean_up.py: clean_up.main()",
    "make docs": ".ci/run: make docs",
    "make down": "tests/docker/stack.py: docker/compose.sh",
    "make e2e-airflow": ".ci/run: make e2e-airflow",
    "make e2e-docker": ".ci/run: make e2e-docker",
    "make e2e-kubernetes": "not run: half an hour; it runs tests, which say so",
    "make explain": "tests/tools/test_explain.py: explain",
    "make find-learning-rate": "tests/test_source_paths.py: find-learning-rate",
    "make format": "not run: rewrites files; make lint runs the same formatter with --check",
    "make help": "tests/test_makefile.py: help",
    "make images": "tests/docker/test_stack.py: docker/images.sh",
    "make lint": ".ci/run: make test",
    "make new": "tests/tools/test_new_recipe.py: new_recipe",
    "make pins": "not run: asks the registry for the newest versions",
    "make plan": "tests/test_source_paths.py: plan",
    "make predict": "tests/tools/test_predict_image.py: predict_image",
    "make preview": "tests/test_source_paths.py: preview",
    "make replay": "not run: DVC's `exp apply`; tests/test_makefile.py has its refusal",
    "make reproduce": "tests/test_source_paths.py: reproduce",
    "make run": ".ci/run: make run",
    "make sweep": "tests/test_source_paths.py: sweep",
    "make sync-tracking": "tests/tracking/test_outage.py: sync_tracking",
    "make test": ".ci/run: make test",
    "make test-fast": ".github/workflows/ci.yml: make test-fast",
    "make test-jax": ".github/workflows/ci.yml: make test-jax",
    "make up": "tests/docker/stack.py: docker/up.sh",
    "mlflow gc": "tests/tools/test_clean_up.py: deleted_long_ago_are_purged",
    "mlflow models serve": "tests/serving/test_server.py: \"models\", \"serve\"",
    "mlflow ui": "not run: MLflow's own server; make airflow starts the same",
    "python -m benchmarks.bench_change": "tests/benchmarks/test_benchmarks.py: bench_change",
    "python -m benchmarks.bench_checkpoint": "tests/benchmarks/test_benchmarks.py: bench_checkpoint",
    "python -m benchmarks.bench_memory": "tests/benchmarks/test_benchmarks.py: bench_memory",
    "python -m benchmarks.bench_normalization": "tests/benchmarks/test_benchmarks.py: bench_normalization",
    "python -m benchmarks.bench_onednn": "tests/benchmarks/test_benchmarks.py: bench_onednn",
    "python -m benchmarks.bench_quality": "tests/benchmarks/test_benchmarks.py: bench_quality",
    "python -m benchmarks.bench_storage": "tests/benchmarks/test_benchmarks.py: bench_storage",
    "python -m benchmarks.bench_workers": "not run: minutes; common/test_dask_workers.py has such workers",
    "python -m benchmarks.drift": "not run: minutes; tests/data/test_drift.py simulates fewer runs",
    "python -m benchmarks.jpeg_copies": "tests/benchmarks/test_jpeg_copies.py: jpeg_copies",
    "python -m benchmarks.killed_ranks": "not run: half an hour; test_distribution.py sends four signals",
    "python -m benchmarks.network_styles": "tests/benchmarks/test_network_styles.py: network_styles",
    "python -m benchmarks.plain_fit": "tests/benchmarks/test_plain_fit.py: plain_fit",
    "python -m benchmarks.rank_network": "not run: minutes, and JAX; benchmarks/test_links.py has such links",
    "python -m benchmarks.rank_speed": "not run: wants two idle cores and JAX",
    "python -m benchmarks.recipe": "not run: runs two commits' whole recipe",
    "python -m benchmarks.tasks": "not run: eighteen tasks of DVC, a minute",
    "python -m benchmarks.promotion_rules": "not run: minutes; scoring/test_promotion_rates.py simulates it",
    "python -m benchmarks.recipe_costs": "tests/benchmarks/test_recipe_costs.py: recipe_costs",
    "python -m benchmarks.scale": "tests/benchmarks/test_scale.py: scale",
    "python -m stages.tools.check": "tests/tools/test_check.py: check",
    "python -m stages.tools.check_champion": "tests/tools/test_check_champion.py: check_champion",
    "python -m stages.tools.compare": "tests/tools/test_compare.py: compare",
    "python -m stages.tools.continue_training": "tests/tools/test_continue_training.py: continue_training",
    "python -m stages.tools.export": "tests/tools/test_export.py: export",
    "python -m stages.tools.networks": "tests/models/networks/test_networks.py: networks",
    "python -m stages.tools.predict_image": "tests/tools/test_predict_image.py: predict_image",
    "python -m stages.tools.rollback": "tests/test_promote.py: rollback",
}  # fmt: skip


@dataclass(frozen=True)
class Command:
    """A command on a page."""

    page: str
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        """What runs, without arguments: `make run`, `python -m stages.tools.compare`."""
        count = NAMES.get(self.words[0], 1)
        return " ".join(self.words[: count + (self.words[:2] in GROUPS)])

    def __str__(self) -> str:
        return f"{self.page}: {' '.join(self.words)}"


def commands() -> Iterator[Command]:
    """Every command of every page, in code blocks and in running text."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = [
            block for language, block in FENCE.findall(text) if language in ("", "bash", "console", "sh")
        ]
        lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
        lines += [" ".join(code.split()) for code in INLINE.findall(FENCE.sub("", text))]
        for line in lines:
            if words := shell_words(line.removeprefix("$ ")):
                yield Command(page.relative_to(ROOT).as_posix(), words)


def shell_words(line: str) -> tuple[str, ...]:
    """The words of a command; none where the line is something else, such as output or the name of a file."""
    # Variables before the command.
    line = re.sub(r"^(?:[A-Z_]+=(?:\"[^\"]*\"|\S*) )+", "", line.strip())
    first, _, rest = line.partition(" ")
    script = re.fullmatch(r"docker/[\w-]+\.sh", first)
    if not script and not (first in NAMES and rest):
        return ()
    # A word in capitals or `…` stands for the reader's own.
    return tuple(word for word in shlex.split(line, comments=True) if word != "…")


COMMANDS = sorted(set(commands()), key=str)


def commands_of(*programs: str) -> list[Command]:
    return [command for command in COMMANDS if command.words[0] in programs]


def test_every_command_is_run_or_says_why_not() -> None:
    assert len(COMMANDS) > 60
    names = {command.name for command in COMMANDS}
    assert names == set(RUN_BY)


@pytest.mark.parametrize("name", sorted(RUN_BY))
def test_what_runs_a_command_names_it(name: str) -> None:
    origin = RUN_BY[name]
    if origin.startswith("not run: "):
        return
    path, _, text = origin.partition(": ")
    assert text in (ROOT / path).read_text(encoding="utf-8"), f"{path} does not have {text}"


@pytest.mark.parametrize("command", commands_of("make"), ids=str)
def test_a_target_and_its_variables_exist(command: Command) -> None:
    _, target, *words = command.words
    assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), f"the Makefile has no {target}"
    for word in words:
        variable, equals, _ = word.partition("=")
        assert equals, f"{word} is no variable"
        assert re.search(rf"\$[({{]+{variable}\b|\$\${variable}\b|^{variable} ", MAKEFILE, re.MULTILINE), (
            variable
        )


@pytest.mark.parametrize("command", commands_of("python"), ids=str)
def test_a_module_exists_and_has_the_options(command: Command) -> None:
    module = import_module(command.words[2])
    options = [word.partition("=")[0] for word in command.words[3:] if word.startswith("--")]
    started = re.search(r"cli\.main\((\w+)\)", Path(str(module.__file__)).read_text(encoding="utf-8"))
    if not started:
        # The harness of the benchmarks reads their command line.
        harness = (ROOT / "benchmarks" / "harness.py").read_text(encoding="utf-8")
        assert all(re.search(rf"\b{option[2:].replace('-', '_')}: ", harness) for option in options)
        return
    function = getattr(module, started[1])
    target = function.function if isinstance(function, cli.Command) else function
    arguments = inspect.signature(target).parameters
    assert {option[2:].replace("-", "_") for option in options} <= set(arguments)


@pytest.mark.parametrize("command", commands_of("dvc"), ids=str)
def test_dvc_takes_the_words(command: Command) -> None:
    words = [word for word in command.words[1:] if not word.isupper()]
    parsed, _ = get_main_parser().parse_known_args(words)
    assert parsed.func


def overrides_in(command: Command) -> list[str]:
    """Hydra's overrides in a command; a list of values, as of a grid, becomes its first."""
    words = list(command.words)
    overrides = [after for word, after in pairwise(words) if word == "-S"]
    for word in words:
        if word.startswith("SET="):
            overrides += shlex.split(word.removeprefix("SET="))
        if word.startswith("RECIPE=") and words[1] != "new":
            overrides.append(f"recipe={word.removeprefix('RECIPE=')}")
    if overrides and any(word.startswith("DATA=") for word in words):
        overrides.append("recipe=images")
    return [word if "[" in word else word.partition(",")[0] for word in overrides]


# Recipes and keys that a page makes up: a new recipe, a mistyped key, a source that the reader writes.
MADE_UP = ("recipe=name", "recipe=flowers", "models.lenet.train.epoch=3")


@pytest.mark.parametrize("command", [command for command in COMMANDS if overrides_in(command)], ids=str)
def test_overrides_compose(command: Command) -> None:
    overrides = [word for word in overrides_in(command) if word not in MADE_UP]
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base=None):
        hydra.compose("config", overrides)


def test_every_variable_of_the_code_is_documented() -> None:
    """On a page, or in the docstring of the process that reads it."""
    documents = [*PAGES, ROOT / "pipelines" / "worker" / "__init__.py", ROOT / "pipelines" / "config.py"]
    documents.append(ROOT / "pipelines" / "proxy" / "__init__.py")
    text = "\n".join(path.read_text(encoding="utf-8") for path in documents)
    fields = re.findall(r"^        (\w+): \S.*$", text, re.MULTILINE)
    documented = set(re.findall(r"CONVOY_[A-Z_]+[A-Z]", text)) | {f"CONVOY_{name.upper()}" for name in fields}
    used = set()
    for room in ("stages", "pipelines", "apps"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    used |= set(re.findall(r"^CONVOY_[A-Z_]+[A-Z]$", node.value))
    assert used
    assert used - documented == set()
