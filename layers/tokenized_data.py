"""TokenizedData (MyCaffe): blocks of a text, character by character, for a net that says the next one.

Tops: tokens (N, T), their positions in the block (N, T), and the tokens that follow each (N, T); N is batch_size, T
block_size.  A token is the position of a character among those of the text in order of their code points.  Each block
begins at a position drawn anew.  A net is sized without the text being there.

Source: the prototxts of MyCaffe.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.data.feed import FeedLayer, Source
from demitasse.layers.data.files import read_file, require_file
from demitasse.proto.errors import DataFault, SchemaFault
from demitasse.proto.messages import TokenizedDataParameter

FIELD = "tokenized_data_param: source"


class TextBlocks(Source):
    """Blocks of a text's tokens, from anywhere in it."""

    draws, costly = True, False
    shuffles = "the type, which draws its blocks,"

    def __init__(self, path: str, size: int):
        super().__init__()
        require_file(path, FIELD)
        try:
            text = read_file(path, f"{FIELD}: '{path}'").decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataFault(f"{FIELD}: '{path}' is no text (UTF-8): {error.reason} at byte {error.start}") from None
        if len(text) <= size:
            raise DataFault(f"{FIELD}: '{path}' has {len(text)} characters: more than block_size {size} are needed")
        self.characters, self.tokens = np.unique(np.array(list(text)), return_inverse=True)
        self.path, self.size, self.count = path, size, len(text) - size

    def find(self, index):
        return index

    def data_origin(self):
        return (f"{self.path} {len(self.tokens)}",)

    def load(self, record, rng):
        first = int(rng.integers(self.count))
        block = self.tokens[first : first + self.size + 1].astype(np.float32)
        return [block[:-1], np.arange(self.size, dtype=np.float32), block[1:]], f"{self.path}: character {first + 1}"


class TokenizedData(FeedLayer):
    """Tops: tokens, positions and following tokens, (N, T) each."""

    type = "TokenizedData"
    fields = ("tokenized_data_param", "data_param")
    tops = (3, 3)

    def setup(self, shapes):
        param = self.spec.tokenized_data_param
        if param.vocabulary_type != TokenizedDataParameter.CHARACTER:
            raise SchemaFault("vocabulary_type: CHARACTER is the one that is read here")
        if not param.batch_size or not param.block_size:
            raise SchemaFault(
                "tokenized_data_param needs batch_size and block_size: how many texts, of how many tokens"
            )
        return super().setup(shapes)

    def told_shapes(self):
        param = self.spec.tokenized_data_param
        return [(param.batch_size, param.block_size)] * 3

    def open(self):
        param = self.spec.tokenized_data_param
        return TextBlocks(param.source, param.block_size), param.batch_size, 0
