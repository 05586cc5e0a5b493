"""Attribute lists -> Arrow maps with sorted, unique keys; every distinct key-value is decoded once per batch.

Sorted (by the bytes of the key) because ClickHouse neither sorts nor compares maps by content: two orders of the same
attributes would hash and group apart. Of duplicate keys the last one counts.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bridge.columns.decode import decode_key_values
from bridge.columns.values import EMPTY, texts

Ints = npt.NDArray[np.int64]
_NO_TEXT: Final = pa.array([], pa.string())


class Maps:
    """The attributes of a whole column of lists: as a map array, or one key's values."""

    def __init__(self, lists: Any) -> None:
        """`lists` is a list array of serialized KeyValue."""
        encoded = lists.flatten().dictionary_encode()
        self._offsets = _offsets_of(lists)
        self._codes: npt.NDArray[np.int32] = encoded.indices.to_numpy()
        if len(self._codes):
            self._keys, values = decode_key_values(encoded.dictionary)
            self._texts = texts(values)
        else:
            self._keys = self._texts = _NO_TEXT

    def to_map(self) -> pa.MapArray:
        """One map a list."""
        if not len(self._codes):
            none = _NO_TEXT.dictionary_encode()
            return pa.MapArray.from_arrays(pa.array(self._offsets, pa.int32()), none, none)
        keys = self._keys.dictionary_encode()
        codes, offsets = self._sorted(_ranks(keys))
        return pa.MapArray.from_arrays(
            pa.array(offsets, pa.int32()), _taken(keys, codes), _taken(self._texts.dictionary_encode(), codes)
        )

    def value_of(self, key: str) -> pa.StringArray:
        """For each list the text of this key's last occurrence, or nothing."""
        is_wanted = pc.equal(self._keys, key).to_numpy(zero_copy_only=False)
        found = np.full(len(self._offsets) - 1, -1, np.int64)
        places = np.flatnonzero(is_wanted[self._codes]) if len(self._codes) else np.zeros(0, np.int64)
        rows = np.searchsorted(self._offsets, places, side="right") - 1
        found[rows] = self._codes[places]  # later places overwrite earlier ones
        codes = pa.array(found, mask=found < 0)
        return pc.fill_null(pc.take(self._texts, codes), EMPTY)

    def _sorted(self, ranks_of: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.int32], Ints]:
        """Codes in key order within each row, without duplicates, and the offsets that go with them."""
        codes, offsets = self._codes, self._offsets
        ranks = ranks_of[codes]
        is_inside = np.ones(len(codes), bool)  # has a successor in the same row
        is_inside[offsets[1:][np.diff(offsets) > 0] - 1] = False
        rises = np.append(ranks[1:] > ranks[:-1], True)
        if (rises | ~is_inside).all():
            return codes, offsets
        order = _order_within_rows(ranks, offsets)
        codes, ranks = codes[order], ranks[order]
        is_last = ~is_inside | np.append(ranks[1:] != ranks[:-1], True)
        if is_last.all():
            return codes, offsets
        kept = np.concatenate(([0], np.cumsum(is_last)))
        return codes[is_last], kept[offsets]


def _taken(encoded: pa.DictionaryArray, codes: npt.NDArray[np.int32]) -> pa.DictionaryArray:
    """As `take`, of the indices alone."""
    return pa.DictionaryArray.from_arrays(pa.array(encoded.indices.to_numpy()[codes]), encoded.dictionary)


def _ranks(keys: pa.DictionaryArray) -> npt.NDArray[np.int32]:
    """For each distinct key-value the place of its key among all keys; equal for equal keys."""
    order = pc.sort_indices(keys.dictionary).to_numpy()  # UTF-8 sorts by bytes
    ranks = np.empty(len(order), np.int32)
    ranks[order] = np.arange(len(order), dtype=np.int32)
    found: npt.NDArray[np.int32] = ranks[keys.indices.to_numpy()]
    return found


def _order_within_rows(ranks: npt.NDArray[np.int32], offsets: Ints) -> Ints:
    """A permutation that sorts every row by rank and keeps equal ranks in order.

    Rows of one length are sorted together as a matrix: a loop over the distinct lengths, not over the rows.
    """
    lengths = np.diff(offsets)
    if (lengths == lengths[0]).all():  # as one service's items often are: the matrix is there already
        width = int(lengths[0])
        by_rank = np.argsort(ranks.reshape(-1, width), axis=1, kind="stable")
        by_rank += offsets[:-1][:, None]
        return by_rank.ravel()
    order = np.arange(len(ranks), dtype=np.int64)
    for length in np.flatnonzero(np.bincount(lengths)):
        if length < 2:
            continue
        places = offsets[:-1][lengths == length][:, None] + np.arange(length)
        by_rank = np.argsort(ranks[places], axis=1, kind="stable")
        order[places] = np.take_along_axis(places, by_rank, axis=1)
    return order


def _offsets_of(lists: Any) -> Ints:
    """Offsets that start at 0, whatever slice the array is."""
    offsets: Ints = lists.offsets.to_numpy().astype(np.int64)
    offsets -= offsets[0]
    return offsets
