"""What quantization does to a trained model: the demo's next tokens, file by file, against those at float32."""

import itertools
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
Talk = tuple[NDArray[np.int32], NDArray[np.bool_]]  # token ids, and whether the model is to say the one after each
test_conversation.__test__ = False  # type: ignore[attr-defined]  # no test of pytest's


@pytest.fixture(scope="module")
def talks() -> list[Talk]:
    """Conversations of kinds that training held out."""
    codec, rng = Codec(DEMO / "tekken.json"), random.Random(5)
    found: list[Talk] = []
    while sum(int(said.sum()) for _, said in found) < N_TOKENS:
        ids, counts, _ = codec.encode(test_conversation(rng, codec.pieces, rng.choice(list(SKILLS))))
        said = np.array([*counts[1:], 0.0]) > 0
        found += [(np.array(ids, np.int32), said)] if len(ids) <= 512 else []
    return found


def log_probabilities(path: Path, talks: list[Talk]) -> NDArray[np.float64]:
    """Those of the tokens that the model was trained to say. (n_tokens, vocabulary)"""
    found = llama_oracle.logits_of_each(path, [ids for ids, _ in talks])
    logits = np.concatenate([of_each[said] for of_each, (_, said) in zip(found, talks, strict=True)]).astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def test_more_bits_are_nearer_to_the_model(tmp_path: Path, talks: list[Talk]) -> None:
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
    for more_bits, fewer in itertools.pairwise(targets):
        assert is_no_worse(found[more_bits], found[fewer]), (more_bits, fewer)
    mean = {target: float(found[target].mean()) for target in targets}
    assert mean["fp16"] < 1e-6
    assert mean["q8_0"] < 0.0005
    assert mean["q4_K_M"] < 0.01
    assert mean["q8_0"] < mean["q4_K_M"] / 10
    assert mean["q4_K_M"] < mean["q4_0"]
    assert is_no_worse(divergences(made("q4_K_M", "fine")), found["q4_K_M"])


def is_no_worse(found: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Whether the mean is not above the other one by two standard errors: so few tokens cannot tell more."""
    more = found - other
    return bool(more.mean() < 2 * more.std() / np.sqrt(more.size))
