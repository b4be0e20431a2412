"""What Airflow's environment says of the settings, and which variables reach the stages."""

from pipelines import config


def test_a_variable_sets_the_field_of_its_name() -> None:
    settings = config.load({"CONVOY_MEMORY": "4Gi", "CONVOY_REMOTE": "store", "MEMORY": "1Gi"})
    assert (settings.memory, settings.remote) == ("4Gi", "store")
    assert settings.cache == "", "a remote is used instead of a shared cache"
    assert config.load({}) == config.Config()


def test_stages_get_the_named_variables_that_are_set_and_no_others() -> None:
    environment = {
        "CONVOY_PASSES": "AWS_PROFILE,NOT_SET",
        "AWS_PROFILE": "team",
        "CONVOY_DEBUG": "1",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "KERAS_BACKEND": "",
        "SECRET": "x",
    }
    assert config.load(environment).passed_variables == {
        "AWS_PROFILE": "team",
        "CONVOY_DEBUG": "1",
        "TF_ENABLE_ONEDNN_OPTS": "0",
    }
