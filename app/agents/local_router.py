"""The router where no model is configured: learned from the agents' example tasks.

A text becomes the character n-grams of its words, weighted by how rare they are; a ridge
regression on the cosines between examples says how much it is like each agent's examples and how
much like none (``docs/decisions/0004-routing.md`` has the figures). No keyword lists: a new agent
is routed to because its spec brings examples.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2b

from app.agents import unknown_examples
from app.agents.routing import (
    UNKNOWN_AGENT_NAME,
    UNKNOWN_AGENT_TYPE,
    RoutingDecision,
    TaskClassification,
)
from app.agents.spec import AgentSpec
from app.llm.client import OFFLINE_MODEL

_GRAM_SIZES = (1, 2, 3, 4, 5)
_MAX_CHARACTERS = 400
"""What is wanted is said at the start; the bound also bounds the time of one decision."""
_MAX_WORD_CHARACTERS = 24
_PENALTY = 0.3
_PASSES = 6
_CONFIDENCE_SLOPE = 12.0
_CONFIDENCE_OFFSET = -0.25
"""Turn a lead into a probability; fitted to 20-fold cross-validation on the examples."""
_WORD = re.compile(r"[^\W_]+|[^\w\s]")

Vector = Mapping[str, float]


class LocalRouter:
    """Classifies by likeness to examples, in well under two milliseconds. Learns when made.

    Args:
        specs: The agents; each needs examples.
        unknown: Texts that are for none of them.
    """

    def __init__(
        self, specs: Sequence[AgentSpec], unknown: Sequence[str] = unknown_examples.EXAMPLES
    ) -> None:
        self._specs = tuple(specs)
        labelled = [(text, label) for label, spec in enumerate(specs) for text in spec.examples]
        labelled += [(text, len(self._specs)) for text in unknown]
        # Coordinate descent is slow to forget a long run of one label: mix them, always alike.
        labelled.sort(key=lambda example: blake2b(example[0].encode()).digest())
        counts = [_grams(text) for text, _ in labelled]
        self._idf = _inverse_document_frequency(counts)
        self._unseen = max(self._idf.values())
        vectors = [_unit_vector(grams, self._idf, self._unseen) for grams in counts]
        self._weights = [
            _ridge_regression(vectors, [float(label == wanted) for _, label in labelled])
            for wanted in range(len(self._specs))
        ]

    async def classify(self, text: str) -> RoutingDecision:
        """The agent whose examples ``text`` is most like, or Unknown; never fails."""
        return RoutingDecision(
            classification=self._classification(text), router="local", model=OFFLINE_MODEL
        )

    def _classification(self, text: str) -> TaskClassification:
        scores = self.scores(text)
        best = max(range(len(scores)), key=scores.__getitem__)
        lead = scores[best] - max(score for at, score in enumerate(scores) if at != best)
        confidence = 1 / (1 + math.exp(-(_CONFIDENCE_SLOPE * lead + _CONFIDENCE_OFFSET)))
        if best == len(self._specs):
            return TaskClassification(
                agent_name=UNKNOWN_AGENT_NAME,
                agent_type=UNKNOWN_AGENT_TYPE,
                confidence=round(confidence, 4),
                reasoning="The text is not like any agent's example tasks.",
            )
        spec = self._specs[best]
        return TaskClassification(
            agent_name=spec.name,
            agent_type=spec.type,
            confidence=round(confidence, 4),
            reasoning=f"The text is most like the example tasks of {spec.name}.",
        )

    def scores(self, text: str) -> list[float]:
        """How much ``text`` is like each agent's examples, about 0 to 1; last: like no agent's."""
        vector = _unit_vector(_grams(text), self._idf, self._unseen)
        agents = [
            sum([value * weights[gram] for gram, value in vector.items()])
            for weights in self._weights
        ]
        # What is like nothing learned is like no agent's examples, whatever it is.
        return [*agents, 1 - sum(agents)]


def fold(text: str) -> str:
    """``text`` without case and accents, so that ``İŞLEV``, ``işlev`` and ``islev`` are one.

    Turkish dotted and dotless i fall together: which one ``I`` stands for depends on the language.
    """
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c)).replace("ı", "i")


def _grams(text: str) -> Counter[str]:
    grams: Counter[str] = Counter()
    for word in _WORD.findall(fold(text[:_MAX_CHARACTERS])):
        padded = f" {word[:_MAX_WORD_CHARACTERS]} "
        for size in _GRAM_SIZES:
            grams.update(padded[at : at + size] for at in range(len(padded) - size + 1))
    return grams


def _inverse_document_frequency(counts: Sequence[Counter[str]]) -> dict[str, float]:
    frequency = Counter(gram for grams in counts for gram in grams)
    return {
        gram: 1 + math.log((1 + len(counts)) / (1 + number)) for gram, number in frequency.items()
    }


def _unit_vector(grams: Counter[str], idf: Mapping[str, float], unseen: float) -> Vector:
    # A gram no example has tells nothing about which agent is meant, but that there are many of
    # them tells that the text is like no example: they count in the length.
    weighted = {
        gram: (1 + math.log(number)) * idf.get(gram, unseen) for gram, number in grams.items()
    }
    length = math.sqrt(sum(value * value for value in weighted.values()))
    return {gram: value / length for gram, value in weighted.items() if gram in idf}


def _ridge_regression(vectors: Sequence[Vector], targets: Sequence[float]) -> dict[str, float]:
    """Weights of the grams that best give ``targets``, by coordinate descent in the dual."""
    weights: dict[str, float] = dict.fromkeys((gram for row in vectors for gram in row), 0.0)
    shares = [0.0] * len(vectors)
    for _ in range(_PASSES):
        for at, row in enumerate(vectors):
            predicted = sum([value * weights[gram] for gram, value in row.items()])
            change = (targets[at] - predicted - _PENALTY * shares[at]) / (1 + _PENALTY)
            shares[at] += change
            for gram, value in row.items():
                weights[gram] += change * value
    return weights
