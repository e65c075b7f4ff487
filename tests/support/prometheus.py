"""Reads Prometheus' text format."""

from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]


class Scrape:
    """The samples of one ``GET /metrics``."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples: dict[tuple[str, Labels], float] = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """A sample's value; zero where nothing was counted yet."""
        return self.samples.get((name, frozenset(labels.items())), 0.0)

    def label_names(self, name: str) -> set[str]:
        """The names of the labels of a metric's samples."""
        return {label for sample, labels in self.samples if sample == name for label, _ in labels}

    def label_values(self, name: str, label: str) -> set[str]:
        """The values that one label has."""
        return {dict(labels)[label] for sample, labels in self.samples if sample == name}
