"""A result of a recipe of a book, as `reproduce` records it."""

from stages.report.pages.reproduction import Result

OURS = Result(
    recipe="lenet_mnist",
    seed=42,
    of="lenet",
    metric="accuracy",
    split="test",
    value=0.975,
    train=54_000,
    images=10_000,
    epochs=20,
    epoch_seconds=12.34,
    machine="2 cores x86_64",
    backend="tensorflow",
    commit="abc1234",
)
