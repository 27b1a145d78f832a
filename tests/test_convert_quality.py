"""What quantization does to a trained model: the demo's next tokens, file by file, against those at float32."""

import random
from pathlib import Path

import llama_oracle
import numpy as np
import pytest
from numpy.typing import NDArray

from convert.pipeline import convert
from minichat.demo.training.talk import SKILLS, test_conversation
from minichat.demo.training.tokens import Codec

DEMO = Path(__file__).parent.parent / "minichat" / "demo" / "model"
N_TOKENS = 1000
test_conversation.__test__ = False  # type: ignore[attr-defined]  # no test of pytest's


@pytest.fixture(scope="module")
def talks() -> list[NDArray[np.int32]]:
    """Conversations of kinds that training held out, as token ids."""
    codec, rng = Codec(DEMO / "tekken.json"), random.Random(5)
    found: list[NDArray[np.int32]] = []
    while sum(map(len, found)) < N_TOKENS:
        ids = codec.encode(test_conversation(rng, codec.pieces, rng.choice(list(SKILLS))))[0]
        found += [np.array(ids, np.int32)] if len(ids) <= 512 else []
    return found


def log_probabilities(path: Path, talks: list[NDArray[np.int32]]) -> NDArray[np.float64]:
    """(n_tokens, vocabulary)"""
    logits = np.concatenate([llama_oracle.logits(path, ids) for ids in talks]).astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def test_more_bits_are_nearer_to_the_model(tmp_path: Path, talks: list[NDArray[np.int32]]) -> None:
    def made(target: str, search: str = "standard") -> NDArray[np.float64]:
        convert(DEMO, tmp_path / "a.gguf", target, search=search)
        return log_probabilities(tmp_path / "a.gguf", talks)

    exact = made("f32")
    probabilities = np.exp(exact)

    def divergences(found: NDArray[np.float64]) -> NDArray[np.float64]:
        """The Kullback-Leibler divergence at each token, in nats. (n_tokens,)"""
        return (probabilities * (exact - found)).sum(axis=1)

    targets = ("fp16", "q8_0", "q6_K", "q5_K_M", "q4_K_M", "q4_0")
    found = {target: divergences(made(target)) for target in targets}
    means = [float(found[target].mean()) for target in targets]
    assert means == sorted(means), means
    assert means[1] < 0.01
    assert means[4] < 0.15
    assert means[1] < means[4] / 10
    more = divergences(made("q4_K_M", "fine")) - found["q4_K_M"]
    # So few tokens cannot show that it is better, only that it is not clearly worse: by two standard errors.
    assert more.mean() < 2 * more.std() / np.sqrt(more.size)
