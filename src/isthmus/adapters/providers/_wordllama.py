"""WordLlama: one vector a token, averaged over a text. Reads the files of its wheel, nothing else.

The library itself is left alone: it would import a downloader and set up logging of its own.
Source: WordLlama's README, and its `inference.py` for the average that is taken here.
"""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load
from tokenizers import Tokenizer

Matrix: TypeAlias = NDArray[np.float32]

WEIGHTS = "weights/l2_supercat_256.safetensors"
TENSOR = "embedding.weight"
TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
PIECE_CHARS = 4_096
TURN_CHARS = 16_384
"""What is turned into tokens at once: a character may be four of them, and a token takes 1 KB."""
PLACES = 7
"""Decimals of a vector that are kept: what single precision holds, in half the bytes of JSON."""


class WordLlama:
    """The model. Blocking; safe to use from several threads."""

    def __init__(self, tokenizer: Tokenizer, table: Matrix) -> None:
        self._tokenizer = tokenizer
        self._table = table

    @classmethod
    def load(cls) -> "WordLlama":
        """Read the package's files, about 0.2 s. Raises OSError or ImportError without them."""
        spec = find_spec("wordllama")
        if spec is None or not spec.submodule_search_locations:
            raise ModuleNotFoundError("wordllama is not installed", name="wordllama")
        folder = Path(spec.submodule_search_locations[0])
        # Its own error for a missing file has no class of its own.
        tokenizer = Tokenizer.from_str((folder / TOKENIZER).read_text(encoding="utf-8"))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        table = load((folder / WEIGHTS).read_bytes())[TENSOR]
        return cls(tokenizer, np.ascontiguousarray(table, dtype=np.float32))

    def vectors(
        self, slices: Sequence[tuple[Sequence[str], int]]
    ) -> list[tuple[list[list[float]], int]]:
        """For each slice, vectors of length one with so many dimensions, and its tokens."""
        means, counts = self.means([text for texts, _ in slices for text in texts])
        made: list[tuple[list[list[float]], int]] = []
        at = 0
        for texts, dimensions in slices:
            end = at + len(texts)
            made.append((_unit(means[at:end], dimensions), sum(counts[at:end])))
            at = end
        return made

    def means(self, texts: Sequence[str]) -> tuple[Matrix, list[int]]:
        """The average of each text's tokens (zeros when it has none), and their numbers."""
        sums = np.zeros((len(texts), self._table.shape[1]), dtype=np.float32)
        counts = np.zeros(len(texts), dtype=np.int64)
        for owners, pieces in _turns(texts):
            self._add(sums, counts, owners, pieces)
        sums /= np.maximum(counts, 1)[:, np.newaxis].astype(np.float32)
        return sums, counts.tolist()

    def _add(
        self, sums: Matrix, counts: NDArray[np.int64], owners: list[int], pieces: list[str]
    ) -> None:
        encoded = self._tokenizer.encode_batch_fast(pieces, add_special_tokens=False)
        tokens: list[list[int]] = [one.ids for one in encoded]
        lengths = np.fromiter(map(len, tokens), dtype=np.int64, count=len(tokens))
        filled = np.flatnonzero(lengths)
        if not len(filled):
            return
        flat = np.fromiter(chain.from_iterable(tokens), np.int32, count=int(lengths.sum()))
        # The pieces of a long text stand together, so its tokens do.
        owned, first = np.unique(np.asarray(owners)[filled], return_index=True)
        lengths = lengths[filled]
        starts = (np.cumsum(lengths) - lengths)[first]
        sums[owned] += np.add.reduceat(self._table[flat], starts, axis=0)
        counts[owned] += np.add.reduceat(lengths, first)


def _unit(means: Matrix, dimensions: int) -> list[list[float]]:
    """The first `dimensions` of each vector, at length one; a vector of zeros stays as it is."""
    cut = means[:, :dimensions].astype(np.float64)
    lengths = np.linalg.norm(cut, axis=1, keepdims=True)
    cut /= np.where(lengths == 0.0, 1.0, lengths)
    return np.round(cut, PLACES).tolist()


def _turns(texts: Sequence[str]) -> Iterator[tuple[list[int], list[str]]]:
    """Pieces and the texts that they belong to, as many at once as memory should hold."""
    owners: list[int] = []
    pieces: list[str] = []
    room = TURN_CHARS
    for owner, text in enumerate(texts):
        for piece in _pieces(text):
            if len(piece) > room:
                yield owners, pieces
                owners, pieces, room = [], [], TURN_CHARS
            owners.append(owner)
            pieces.append(piece)
            room -= len(piece)
    if pieces:
        yield owners, pieces


def _pieces(text: str) -> Iterator[str]:
    """The text, cut at spaces, where it makes no difference to its tokens."""
    at = 0
    while len(text) - at > PIECE_CHARS:
        space = text.rfind(" ", at + 1, at + PIECE_CHARS)
        end = space if space > 0 else at + PIECE_CHARS
        yield text[at:end]
        at = end + (space > 0)
    yield text[at:] if at else text
