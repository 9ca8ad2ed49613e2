"""What alignment counts as a hit, and the directions of retrieval."""

from __future__ import annotations

from dataclasses import dataclass

from ctbench_core.declared.registry import Registry


@dataclass(frozen=True)
class Truth:
    """One rule for which candidates are hits: those of the query's group.

    Attributes:
        title: what a hit has in common with its query, for the screen and for help.
        groups: reference to the function from (manifest of N volumes, distinct text vectors (M, D), row of each volume
            in them (N,)) to the group of each volume, numbers or names (N,).
        needs_labels: whether it needs findings. A hit then is by label.
    """

    name: str
    title: str
    groups: str
    needs_labels: bool = False


TRUTHS = Registry(
    "truth",
    (
        Truth("exam", "same exam", "ctbench_core.alignment.truths:exam_groups"),
        Truth("patient", "same patient", "ctbench_core.alignment.truths:patient_groups"),
        Truth("text", "identical report", "ctbench_core.alignment.truths:text_groups"),
        Truth("labels", "same label vector", "ctbench_core.alignment.truths:label_groups", needs_labels=True),
    ),
)

# Kinds of hits in the result files: by the chosen truth, by equal label vector, and the same without the query's own exam.
INSTANCE, SEMANTIC, OTHERS = "instance", "semantic", "semantic_others"

_NOUNS = {"visual": "volume", "text": "report"}


@dataclass(frozen=True)
class RetrievalDirection:
    """One direction of retrieval: queries of one modality (visual, text) against a gallery of one.

    ``name`` is its prefix in JSON and files. All its titles follow from the two modalities.
    """

    name: str
    query: str
    gallery: str

    @property
    def within(self) -> bool:
        """Whether both sides are the same modality."""
        return self.query == self.gallery

    @property
    def words(self) -> str:
        """Its name in printed tables: visual to text."""
        return f"{self.query} to {self.gallery}"

    @property
    def title(self) -> str:
        """Its name on the screen: volume → report."""
        return f"{self.query_noun} → {self.gallery_noun}"

    @property
    def mark(self) -> str:
        """Its short name in column headings."""
        if self.within:
            return f"{self.query_noun}s"
        return "→" if self.query == "visual" else "←"

    @property
    def query_noun(self) -> str:
        """What a query is: a volume or a report."""
        return _NOUNS[self.query]

    @property
    def gallery_noun(self) -> str:
        """What a candidate is: a volume or a report."""
        return _NOUNS[self.gallery]


DIRECTIONS = Registry(
    "direction",
    (
        RetrievalDirection("v_to_t", "visual", "text"),
        RetrievalDirection("t_to_v", "text", "visual"),
        RetrievalDirection("v_to_v", "visual", "visual"),
        RetrievalDirection("t_to_t", "text", "text"),
    ),
)
CROSS_DIRECTIONS = tuple(direction for direction in DIRECTIONS.values() if not direction.within)


def retrieval_prefix(hits: str, direction: str = "") -> str:
    """Return how the names of the metrics of one kind of hits (and one direction) begin."""
    return "".join(f"{part}_" for part in ("" if hits == INSTANCE else hits, direction) if part)
