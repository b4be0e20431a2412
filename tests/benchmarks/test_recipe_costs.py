import pytest

from benchmarks import recipe_costs


@pytest.mark.slow
def test_a_training_costs_what_its_epochs_and_images_cost() -> None:
    once = recipe_costs.cpu_seconds(recipe_costs.composed("minivggnet_flowers17"))
    cifar10 = recipe_costs.cpu_seconds(recipe_costs.composed("minivggnet_cifar10"))
    # Four times the pixels, 884 x 100 images for 48,000 x 40.
    assert 0.09 < once / cifar10 < 0.4
