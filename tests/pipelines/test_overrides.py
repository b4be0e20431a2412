"""What a filled form means: overrides, contradictions, the points of a grid."""

import math
from dataclasses import replace

import pytest

from pipelines import overrides
from pipelines.graph import Settings
from pipelines.runners import RUNNERS

EMPTY = {"recipe": "digits", "overrides": None}


def test_fields_become_overrides_and_empty_fields_none() -> None:
    form = {**EMPTY, "epochs": 3, "image_size": 32, "seed": None, "overrides": ["models.lenet.kind=cnn"]}
    assert overrides.from_form(form) == [
        "recipe=digits",
        "models.*.train.epochs=3",
        "resize.size=[32,32]",
        "models.lenet.kind=cnn",
    ]


def test_a_field_and_an_override_that_contradict_are_refused_with_both_values() -> None:
    with pytest.raises(overrides.FormError, match="seed is set twice: seed=7 and seed=8; keep one of them"):
        overrides.from_form({**EMPTY, "seed": 7, "overrides": ["seed=8"]})
    assert overrides.from_form({**EMPTY, "seed": 7, "overrides": ["seed=7"]})
    # A member's own value is more specific than a field that sets all members.
    assert overrides.from_form({**EMPTY, "epochs": 2, "overrides": ["models.lenet.train.epochs=1"]})


def test_a_refusal_shows_no_secret_of_an_address() -> None:
    lines = [f"ingest.source.url=https://me:hunter2@{host}/?token=hunter2" for host in "ab"]
    with pytest.raises(overrides.FormError, match=r"set twice: .*https://a/\?token=") as raised:
        overrides.from_form({**EMPTY, "overrides": lines})
    assert "hunter2" not in str(raised.value)


def test_two_recipes_are_refused() -> None:
    with pytest.raises(overrides.FormError, match="recipe is set twice: recipe=digits and recipe=other"):
        overrides.from_form({**EMPTY, "overrides": ["recipe=other"]})
    assert overrides.from_form({**EMPTY, "overrides": ["recipe=digits"]})


def test_a_field_that_the_form_lacks_is_refused_with_the_nearest() -> None:
    overrides.check_field_names(["epochs"], ["recipe", "epochs"])
    with pytest.raises(
        overrides.FormError, match=r"no field epoch; did you mean epochs\? \(it has recipe, epochs\)"
    ):
        overrides.check_field_names(["epoch"], ["recipe", "epochs"])


def test_gpus_are_refused_with_a_runner_that_does_not_give_them() -> None:
    assert overrides.from_form({**EMPTY, "gpus": 1, "runner": "docker"}) == ["recipe=digits"]
    with pytest.raises(overrides.FormError, match="gpus is for the runners docker and kubernetes"):
        overrides.from_form({**EMPTY, "gpus": 0, "runner": "process"})


@pytest.mark.parametrize(
    ("runner", "backend", "says"),
    [
        ("process", "", "nodes of train is 2; .*KERAS_BACKEND is not set: start Airflow with"),
        ("kubernetes", "tensorflow", "KERAS_BACKEND is tensorflow"),
    ],
)
def test_nodes_are_refused_where_they_cannot_train(runner: str, backend: str, says: str) -> None:
    train = Settings(image="train", nodes=2)
    overrides.check_backend({"train": replace(train, nodes=1)}, runner, backend)
    with pytest.raises(overrides.FormError, match=says):
        overrides.check_backend({"resize": Settings(), "train": train}, runner, backend)


@pytest.mark.parametrize("runner", RUNNERS)
def test_every_runner_takes_nodes_under_jax(runner: str) -> None:
    own = Settings(image="registry/own:1", gpu=1, nodes=2)
    overrides.check_backend({"train": Settings(image="train", nodes=2), "own": own}, runner, "jax")


@pytest.mark.parametrize("runner", ["docker", "kubernetes"])
def test_gpus_under_jax_need_an_image_that_has_it(runner: str) -> None:
    for nodes in (1, 2):
        with pytest.raises(overrides.FormError, match="gpu of train is 1 and KERAS_BACKEND is jax"):
            overrides.check_backend({"train": Settings(image="train", gpu=1, nodes=nodes)}, runner, "jax")
    overrides.check_backend({"train": Settings(image="train", gpu=1)}, runner, "tensorflow")
    overrides.check_backend({"train": Settings(image="registry/own:1", gpu=1)}, runner, "jax")


def slots_of(pool: str) -> float | None:
    return {"gpu": 4, "default_pool": 128, "closed": 0, "endless": math.inf, "unknown": None}[pool]


@pytest.mark.parametrize(
    ("train", "says"),
    [
        (
            Settings(gpu=2, nodes=3, pool="gpu"),
            r"train takes 6 of a pool.s slots, for 3 x 2 .*, and Airflow.s pool gpu has 4:",
        ),
        (Settings(gpu=1, nodes=5, pool="gpu"), "train takes 5 of a pool's slots"),
        (
            Settings(gpu=3, nodes=43),
            "train takes 129 of a pool's slots, .* default_pool has 128: choose fewer",
        ),
        (Settings(pool="closed"), "train takes 1 of a pool's slots, .* pool closed has 0"),
        (Settings(pool="absent"), "Airflow has no pool absent; create it on the page Admin, Pools"),
    ],
)
def test_a_task_that_its_pool_has_no_room_for_is_refused(train: Settings, says: str) -> None:
    with pytest.raises(overrides.FormError, match=says) as caught:
        overrides.check_pools({"plan": Settings(), "train": train}, slots_of)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "train",
    [
        Settings(gpu=2, nodes=2, pool="gpu"),
        Settings(gpu=64, nodes=64, pool="endless"),
        Settings(gpu=64, nodes=64, pool="unknown"),
        Settings(nodes=128),
    ],
)
def test_a_task_that_its_pool_has_room_for_passes(train: Settings) -> None:
    overrides.check_pools({"plan": Settings(), "train": train}, slots_of)


def test_each_pool_is_asked_for_once() -> None:
    names: list[str] = []
    overrides.check_pools({"a": Settings(), "b": Settings(), "c": Settings(pool="gpu")}, names.append)
    assert names == ["default_pool", "gpu"]


def test_a_grid_has_every_combination() -> None:
    assert overrides.grid(["a=1,2", "b=[1,2],[3]"], []) == [
        ["a=1", "b=[1,2]"],
        ["a=1", "b=[3]"],
        ["a=2", "b=[1,2]"],
        ["a=2", "b=[3]"],
    ]


@pytest.mark.parametrize(
    ("line", "points"),
    [
        ("a=[[1,2],[3,4]],[[5,6],[7,8]]", ["a=[[1,2],[3,4]]", "a=[[5,6],[7,8]]"]),
        ("a={k: s, at: [25,35]},{k: c}", ["a={k: s, at: [25,35]}", "a={k: c}"]),
        ("a=[{k: 1}],2,(3,4)", ["a=[{k: 1}]", "a=2", "a=(3,4)"]),
        ("""a='x,y',"[",z""", ["a='x,y'", 'a="["', "a=z"]),
        (r"""a='it\'s,one',two""", [r"a='it\'s,one'", "a=two"]),
    ],
)
def test_a_comma_in_brackets_or_quotes_belongs_to_the_value(line: str, points: list[str]) -> None:
    assert overrides.grid([line], []) == [[point] for point in points]


def test_a_point_is_a_form_of_train() -> None:
    sweep = {**EMPTY, "epochs": 3, "overrides": ["seed=1"], "grid": ["b=1,2"], "rank_by": "ensemble.accuracy"}
    assert overrides.forms(sweep) == [
        {"recipe": "digits", "epochs": 3, "overrides": ["seed=1", f"b={value}"]} for value in (1, 2)
    ]
    with pytest.raises(overrides.FormError, match="seed is set twice: seed=1 and seed=2"):
        overrides.forms(sweep | {"grid": ["seed=2"]})


def test_recipes_of_a_grid_stand_in_for_the_forms() -> None:
    forms = overrides.forms({**EMPTY, "grid": ["recipe=small, large", "seed=1,2"], "rank_by": "a.b"})
    assert [form["recipe"] for form in forms] == ["small", "small", "large", "large"]
    for form in forms:
        assert overrides.from_form(form)[0] == f"recipe={form['recipe']}", "train accepts it"
    with pytest.raises(overrides.FormError, match="recipe is set twice: recipe=other and recipe=small"):
        overrides.forms({**EMPTY, "overrides": ["recipe=other"], "grid": ["recipe=small"], "rank_by": "a.b"})


@pytest.mark.parametrize("value", ["2026-13-45", "1" * 5000, "[" * 5000])
def test_a_value_that_yaml_cannot_make_is_text(value: str) -> None:
    assert overrides.from_form({**EMPTY, "overrides": [f"a={value}"]}) == ["recipe=digits", f"a={value}"]


def test_points_that_are_the_same_run_are_refused() -> None:
    with pytest.raises(overrides.FormError, match=r"the same run: \['a=1'\] and \['a=1.0'\]"):
        overrides.grid(["a=1,2,1.0"], [])
    with pytest.raises(overrides.FormError, match="seed is set twice: seed=7 and seed=8"):
        overrides.grid(["seed=8"], ["seed=7"])
