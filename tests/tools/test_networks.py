"""The tool `networks`: the table of all networks, and the layers of one."""

import pytest

from stages import cli
from stages.models import networks
from stages.tools.networks import show_networks


def test_the_table_names_every_network_with_its_input_and_parameters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cli.main(show_networks, [])
    lines = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()[1:]}
    assert list(lines) == networks.names()
    assert lines["lenet5"] == ["28x28x1", "10", "61,706"]
    assert lines["vgg19"] == ["224x224x3", "1,000", "143,667,240"]


def test_one_network_is_shown_layer_by_layer(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(show_networks, ["shallownet", "--classes", "3", "--input", "32", "32", "3"])
    assert "99,203" in capsys.readouterr().out
    cli.main(show_networks, ["mlp", "--input", "8", "8", "1", "--options", "{widths: [7]}"])
    assert "(None, 7)" in capsys.readouterr().out


def test_the_layers_fit_a_terminal_of_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The column of parameters was cut."""
    monkeypatch.setenv("COLUMNS", "80")
    cli.main(show_networks, ["lenet"])
    output = capsys.readouterr().out
    assert "Param #" in output
    assert max(map(len, output.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["lenett"], 1, "no network 'lenett'; allowed: alexnet, "),
        (["lenet5", "--input", "8", "8", "1"], 1, "lenet5 cannot take images of 8x8x1: "),
        (["lenet", "--options", "{reg: 0.1}"], 1, "--options: unknown key reg; allowed: activation, init"),
        (["vgg16", "--options", "{reg: -1.0}"], 1, "--options: reg is -1.0; must be greater than or equal"),
        (["vgg16", "--options", "3"], 2, "--options is 3; must be keys and values"),
        (["lenet", "--classes", "-1"], 2, "Must be >= 1"),
        (["lenet", "--input", "28", "0", "1"], 2, "Must be >= 1"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(show_networks, arguments)
    assert caught.value.code == status
    (line,) = capsys.readouterr().err.splitlines()
    assert "level=error stage=networks" in line
    assert message in line
