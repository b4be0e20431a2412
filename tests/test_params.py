"""The params: what is refused and how, and that the committed file is what conf/ gives."""

from pathlib import Path
from typing import Any, TypeGuard

import hydra
import pytest
import yaml
from omegaconf import OmegaConf

from stages import params
from stages.common.errors import ParamsError
from stages.common.section import Section
from stages.models.learners import cnn
from stages.scoring.books import Book
from tests.committed import COMMITTED, edited
from tests.paths import ROOT

RECIPES = sorted(path.stem for path in (ROOT / "conf" / "recipe").glob("*.yaml"))


def compose(*overrides: str) -> str:
    """The text that DVC writes to params.yaml for these `-S` options."""
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base=None):
        composed = hydra.compose("config", list(overrides))
    OmegaConf.resolve(composed)
    return OmegaConf.to_yaml(composed)


def is_section(value: object) -> TypeGuard[type[Section]]:
    return isinstance(value, type) and issubclass(value, Section)


LENET = yaml.safe_load(COMMITTED.read_text(encoding="utf-8"))["models"]["lenet"]
ALL = "lenet, minivggnet, hog_logistic"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        # Unknown keys, at the top, inside a section, inside a plug-in.
        ("modells", {}, "yaml: unknown key modells (did you mean models?); allowed: "),
        ("resize.height", 3, "resize: unknown key height; allowed: color, keep_aspect, quality, size"),
        (
            "models.lenet.train.epoch",
            3,
            "models.lenet.train: unknown key epoch (did you mean epochs?); allowed: bal",
        ),
        ("models.lenet.train.3", 3, "models.lenet.train: unknown key 3; allowed: balanced, batch_size"),
        # Kinds that no plug-in has.
        ("ingest.source.kind", "web", "ingest.source: 'kind' is 'web'; allowed: 'archive', "),
        (
            "extractors.hog.kind",
            "hogg",
            "extractors.hog: 'kind' is 'hogg' (did you mean hog?); allowed: 'hog', 'k",
        ),
        (
            "models.lenet.kind",
            "cnnn",
            "models.lenet: 'kind' is 'cnnn' (did you mean cnn?); allowed: 'cnn', 'fine_tuning', 'knn',",
        ),
        ("models.lenet.network", "lenett", "models.lenet.network is 'lenett'; allowed: alexnet, "),
        (
            "models.lenet.optimizer.kind",
            "rms",
            "models.lenet.optimizer: 'kind' is 'rms' (did you mean rmsprop?); allowed: 'sgd', 'ad",
        ),
        # Values that cannot be.
        ("models.lenet.train.epochs", -3, "models.lenet.train.epochs is -3; must be greater than 0"),
        ("models.lenet.train.epochs", 1.5, "models.lenet.train.epochs is 1.5; must be a valid integer"),
        ("models.lenet.train.epochs", "ten", "models.lenet.train.epochs is 'ten'; must be a valid integer"),
        (
            "models.lenet.optimizer.learning_rate",
            float("inf"),
            "learning_rate is inf; must be a finite number",
        ),
        ("models.hog_logistic.c", [1.0, 0.0], "models.hog_logistic.c.1 is 0.0; must be greater than 0"),
        (
            "models.hog_logistic.seed",
            -1,
            "models.hog_logistic.seed is -1; must be greater than or equal to 0",
        ),
        ("resize.color", "RGB", "resize.color is 'RGB'; must be 'rgb' or 'gray'"),
        ("resize.size", [16], "resize.size: has 1 entries; must have at least 2"),
        ("resize.size", [16, 16, 3], "resize.size: has 3 entries; must have 2"),
        ("resize.size", [16, 0], "resize.size.1 is 0; must be greater than 0"),
        ("ingest.val_fraction", 0, "ingest.val_fraction is 0; must be greater than 0"),
        ("ingest.val_fraction", 0.95, "ingest: val_fraction + test_fraction is 1.1; must be less than 1"),
        ("ingest.train_val_fraction", 1, "ingest.train_val_fraction is 1; must be less than 1"),
        ("ingest.train_val_fraction", -0.1, "must be greater than or equal to 0"),
        # A difference from stop to warn would pass.
        ("audit.drift.warn", 0.4, "audit.drift: warn is 0.4; must be at most stop, 0.3"),
        ("extractors.Hog-8", {"kind": "pixels"}, "extractors.Hog-8: must match ^[a-z][a-z0-9_]*$"),
        ("models.size", LENET, "models.size: DVC's run cache ignores a key of that name; choose another"),
        ("recipe", "Digits!", "recipe is 'Digits!'; must match ^[a-z][a-z0-9_]*$"),
        ("models", {}, "models: has 0 entries; must have at least 1"),
        # Sections that are none.
        ("models.lenet.train", 5, "models.lenet.train is 5; must be a mapping"),
        ("extractors", ["hog"], "extractors: must be a mapping"),
        # Names of what does not exist.
        ("models.lenet.input", "features/hog", "models.lenet.input is 'features/hog'; must be 'data/packed'"),
        (
            "models.hog_logistic.input",
            "features/lbp",
            "models.hog_logistic.input is 'features/lbp' (did you mean features/hog?); allowed: d",
        ),
        (
            "models.hog_logistic.input",
            "data/resized.h5",
            "input is 'data/resized.h5'; allowed: data/packed or features/",
        ),
        (
            "models.lenet.code",
            "stages/models/networks/x.py",
            "models.lenet: code is 'stages/models/networks/x.py'; must be stages/models/networks/l",
        ),
        (
            "models.hog_logistic.code",
            "x.py",
            "models.hog_logistic.code is 'x.py'; must be 'stages/models/learners/lo",
        ),
        ("ensemble.members", ["lenet", "vgg"], "ensemble.members is 'vgg'; allowed: hog_logistic, lenet, mi"),
        (
            "ensemble.members",
            ["lenet", "lenet"],
            "ensemble: members is lenet, lenet; must name each member o",
        ),
        ("ensemble.members", [], "ensemble.members: has 0 entries; must have at least 1"),
        # What a book prints is of a member that exists.
        (
            "book.figures",
            [{"of": "vgg", "metric": "accuracy", "value": 0.9, "tolerance": 0.0, "source": "A book"}],
            "book.figures.0.of is 'vgg'; allowed: ",
        ),
        (
            "book.relations",
            [{"of": "vgg", "above": "lenet", "source": "A book"}],
            "book.relations.0.of is 'vgg'; allowed: ",
        ),
        (
            "book.relations",
            [{"of": "ensemble", "above": "vgg", "source": "A book"}],
            "book.relations.0.above is 'vgg'; allowed: hog_logistic, lenet, minivggnet, members",
        ),
        (
            "book.relations",
            [{"of": "lenet", "above": "digits.lenet", "source": "A book"}],
            "book.relations.0.above is 'lenet'; allowed: hog_logistic, minivggnet, ensemble, members",
        ),
        ("models.ensemble", LENET, "models.ensemble: the name is taken by the average of all"),
        # Weights.
        (
            "ensemble.weights",
            "equal",
            "ensemble.weights is 'equal'; allowed: uniform, val_accuracy, greedy, o",
        ),
        (
            "ensemble.weights",
            {"lenet": 2},
            f"ensemble: weights names lenet; must name exactly the members: {ALL}",
        ),
        ("ensemble.weights", {"lenet": 0}, "ensemble.weights.lenet is 0; must be greater than 0"),
        # Keys that are not there (None deletes).
        ("seed", None, "yaml: seed is missing"),
        ("ingest.seed", None, "ingest.seed is missing"),
        ("models.lenet.train.seed", None, "models.lenet.train.seed is missing"),
        ("models.lenet.kind", None, "models.lenet: 'kind' is missing"),
    ],
)
def test_a_bad_value_is_refused_in_one_line(tmp_path: Path, key: str, value: Any, message: str) -> None:
    path = edited(tmp_path, key, value)
    with pytest.raises(ParamsError) as caught:
        params.load(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert message in line
    assert "\n" not in line


def test_all_mistakes_are_in_one_line(tmp_path: Path) -> None:
    train = {key: value for key, value in LENET["train"].items() if key != "batch_size"}
    path = edited(tmp_path, "models.lenet.train", train | {"epochs": 0})
    with pytest.raises(ParamsError) as caught:
        params.load(path)
    assert str(caught.value) == (
        f"{path}: models.lenet.train.epochs is 0; must be greater than 0 | "
        "models.lenet.train.batch_size is missing"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"models: {lenet: [1", "is not valid YAML: while parsing a flow sequence"),
        (b"recipe: \xff", "is not valid YAML: unacceptable character"),
        (b"models: {'a b': []}", "models.a b: must match"),
        (b"recipe: 2026-13-45", "is not valid YAML: month must be in 1..12"),
        (b"seed: " + b"1" * 5000, "is not valid YAML: Exceeds the limit"),
        (b"[" * 5000, "is not valid YAML: nested too deeply"),
        (b"", "the file is None; must be a mapping"),
        (b"- 1", "must be a mapping"),
    ],
)
def test_a_file_that_holds_no_params(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(ParamsError) as caught:
        params.load(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"params\.yaml does not exist; run from the project's root"):
        params.load(tmp_path / "params.yaml")
    with pytest.raises(ParamsError, match="cannot be read: Is a directory"):
        params.load(tmp_path)


def test_at_returns_the_value_at_a_dotted_key() -> None:
    loaded = params.load(COMMITTED)
    lenet = loaded.models["lenet"]
    assert isinstance(lenet, cnn.Params)
    assert loaded.at("models.lenet.train.epochs") == lenet.train.epochs
    assert loaded.at("recipe") == "digits"
    with pytest.raises(ParamsError, match=r"no models\.vgg; allowed here: hog_logistic, lenet, minivggnet"):
        loaded.at("models.vgg")


def test_weights_may_be_given_per_member(tmp_path: Path) -> None:
    weights = {"lenet": 2, "minivggnet": 1, "hog_logistic": 0.5}
    assert params.load(edited(tmp_path, "ensemble.weights", weights)).ensemble.weights == weights


def test_a_resized_image_has_one_channel_when_gray_and_three_in_colour(tmp_path: Path) -> None:
    assert params.load(COMMITTED).resize.shape == (16, 16, 1)
    assert params.load(edited(tmp_path, "resize.color", "rgb")).resize.shape == (16, 16, 3)


def test_the_committed_params_are_the_default_composition() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == compose(), (
        "params.yaml is not what conf/ composes; renew it with: dvc exp run -S recipe=digits"
    )


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_composes_and_is_allowed(tmp_path: Path, recipe: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(compose(f"recipe={recipe}"), encoding="utf-8")
    loaded = params.load(path)
    assert loaded.recipe == recipe
    # The reproduction table reads a recipe's own file.
    own = yaml.safe_load((ROOT / "conf" / "recipe" / f"{recipe}.yaml").read_bytes()).get("book", {})
    assert loaded.book == Book.model_validate(own)
    # An extractor that no member reads would run for nothing.
    assert {f"features/{name}" for name in loaded.extractors} <= {
        member.input for member in loaded.models.values()
    }


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_states_what_it_claims_and_how_to_run_it(recipe: str) -> None:
    header = (ROOT / "conf" / "recipe" / f"{recipe}.yaml").read_text(encoding="utf-8").split("defaults:")[0]
    for word in ("Claims:", "Data:", "Command:", "Time:", f"recipe={recipe}"):
        assert word in header


def test_another_optimizer_brings_its_own_keys() -> None:
    chosen = yaml.safe_load(compose("optimizer@models.lenet.optimizer=rmsprop"))["models"]["lenet"][
        "optimizer"
    ]
    assert (chosen["kind"], chosen["rho"], chosen["schedule"]) == ("rmsprop", 0.9, "cosine")
    assert "nesterov" not in chosen


def test_every_param_has_a_description() -> None:
    """The reference of all params is made of these."""
    sections = [value for value in vars(params).values() if is_section(value)]
    missing = [
        f"{section.__name__}.{name}"
        for section in sections
        for name, field in section.model_fields.items()
        if section.__module__ == params.__name__ and not field.description
    ]
    assert missing == []
