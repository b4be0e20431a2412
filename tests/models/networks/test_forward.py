"""Forward passes: threads may share a network."""

from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np

from stages.models.networks._forward import forward


def test_threads_share_a_network_and_get_their_own_answers() -> None:
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    batches = [np.random.default_rng(n).random((8, 4), np.float32) for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda batch: forward(network, batch), batches))
    for batch, answer in zip(batches, answers, strict=True):
        np.testing.assert_allclose(answer, network.predict_on_batch(batch), atol=1e-6)
