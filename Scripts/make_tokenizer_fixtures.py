#!/usr/bin/env python3
"""Writes Tests/Fixtures/Tokenizers: a small vocabulary, a small SentencePiece model and what the Python originals make
of awkward texts.

Needs the slow tokenizers, so transformers before version 5:  pip install 'transformers==4.46.3' sentencepiece protobuf

--fuzz FOLDER writes a large set instead (a vocabulary of 21,128 tokens, a model with T5's own normalisation, thousands
of random texts) for TIHUA_TOKENIZER_FUZZ, which is too big for the repository.
"""
import argparse
import io
import json
import pathlib
import random

import sentencepiece
from transformers import BertTokenizer, T5Tokenizer

# Written for this file; classical in manner, so that the pieces resemble those of a poem.
LINES = """
春山如画水如烟，一叶轻舟到岸边。
落日长河孤雁远，秋风古道故人还。
明月照窗人未睡，寒灯映雪夜将阑。
青松不语云来去，白石无言水往还。
小桥流水人家近，细雨斜风燕子低。
千里江山收眼底，一帘花影入诗中。
梅花开处香盈袖，柳絮飞时雪满天。
竹外桃花三两枝上春，江边渔火二三星。
山色空濛雨亦奇，湖光潋滟晴方好。
独坐幽亭听夜雨，闲看落叶满空山。
The old poet walks by the river and looks at the moon.
A photograph of mountains, rivers and a small boat in the morning.
Pictures to poems: the words are few, the meaning is long.
""".strip().split("\n")

LONG = "a" * 100
CASES = [
    "", " ", " \t\r\n ", "床前明月光，疑是地上霜。", "春 眠 不觉晓", "Hello, World!", "HELLO ÀÉÎ ñ Ünïcödé",
    "e\u0301te\u0301 a\u030A\u0327", "\u0301", "中\u0301文", "İstanbul ΣΑΣ ΟΔΟΣ straße ẞ", "ﬁne ﬀ ½ ① Ⅳ ㎏",
    "《静夜思》（李白）【唐】「月」『夜』〈霜〉…——～", "Ｆｕｌｌｗｉｄｔｈ　１２３！？", "“弯引号”与‘单’ \"直\" 'x'",
    "\u3400\u4dbf\U00020000\U0002a6df\U0002a700\U0002b738\U0002b740\U0002b81f\U0002b820\U0002ceaf",
    "x\U0002ceb0y\U0002ebe0z", "\U00030000字\U0003134f", "\uf900\uf901豈\U0002f800丽", "〇一〇 々 〻 ⼀ ⺀",
    "emoji 😀👨‍👩‍👧🇨🇳 done", "\ufeff月\ufeff光\ufeff", "零\u200b宽\u200d连\u200e接\u00ad",
    "a\x00b\x01c\x7fd\x85e\x9ff", "a\ufffdb", "a\u00a0b\u2003c\u3000d\u2028e\u2029f\u202fg\u205fh\x1ci\x0bj\x0ck",
    "unaffable runningly poemspoems", LONG, LONG + "a", "x" * 300, "don't can't I'm it's we've you're n't",
    "[CLS]月[SEP]", "[cls]月[MASK]光[PAD] [UNK]", "[七绝]春[EOS]风[七绝]", "[ 七绝 ]", "[七律]山", "[C\x00LS] ok",
    "a[MASK]b [MASK] c", "3.14 1,000 50% $5 #tag @me a_b-c+d=e^f`g|h~i", "かな カナ ｶﾞ 한국어 각", "ไทย हिन्दी עברית العربية",
    "##a ##月 # # #", "a\u0300\u0301\u0302b", "Ω Å K Å", "\ue000私用\U000f0000", "。，、；：？！·", "　　首行缩进", "a\n\nb\r\nc",
    "▁春▁风 ▁", "<extra_id_0>春<extra_id_1> 风 <extra_id_99>", "x <extra_id_5>  y</s>z<pad> <unk>", "<extra_id_100>",
    "</s>", "春  山   如画", "\u2581\u2581", "䶮𪩘𫍽 𬴂", "ａｂｃ ﹁月﹂ ︵x︶", "the river, the moon; the old poet.",
]

OPTION_SETS = {
    "default": dict(),
    "cased": dict(do_lower_case=False),
    "cased-stripped": dict(do_lower_case=False, strip_accents=True),
    "lower-accented": dict(strip_accents=False),
    "joined-han": dict(tokenize_chinese_chars=False),
    "added": dict(additional_special_tokens=["[七绝]", "[EOS]", "[new]"]),
}

# A part of nmt_nfkc, small enough for the repository: what maps to what, in hexadecimal code points.
RULES = (
    [([0xFF01 + i], [0x21 + i]) for i in range(94)]
    + [([c], [0x20]) for c in (0x09, 0x0A, 0x0D, 0xA0, 0x2003, 0x200B, 0x3000, 0x2028)]
    + [([c], []) for c in (0x01, 0x7F, 0xAD, 0xFEFF, 0x200D)]
    + [([0x65, 0x301], [0xE9]), ([0x41, 0x30A], [0xC5]), ([0xFB01], [0x66, 0x69]),
       ([0xBD], [0x31, 0x2044, 0x32]), ([0x2460], [0x31]), ([0xF900], [0x8C48]), ([0x30AB, 0x3099], [0x30AC]),
       ([0xB4], [0x20, 0x301]), ([0x2026], [0x2E, 0x2E, 0x2E]), ([0x33CF], [0x6B, 0x74])]
)


def vocabulary():
    tokens = ["[PAD]"] + [f"[unused{i}]" for i in range(1, 4)] + ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens += ["[七绝]", "[EOS]"]
    tokens += [chr(c) for c in range(33, 127)] + ["##" + c for c in "abcdefghijklmnopqrstuvwxyz0123456789"]
    tokens += list("，。、；：？！《》（）【】「」…—～·“”‘’") + ["豈", "\uf901", "字", "〇", "々", "私", "用"]
    tokens += ["un", "##aff", "##able", "run", "##ning", "##ly", "poem", "##s", "##poem", "hello", "world", "Hello"]
    tokens += ["ete", "été", "é", "ss", "##tra", "##ße", "σ", "##σ", "##α", "##ς", "i̇", "##stanbul", "istanbul"]
    tokens += ["ω", "å", "k", "fine", "ﬁ", "##ne", "##月", "##光", "a" * 100, "中", "文", "\u3400", "\U00020000"]
    tokens += ["\U0002b820", "\U0002ceb0", "か", "##な", "한", "##국", "각", "😀", "床", "前", "疑", "是", "地", "上"]
    tokens += ["##\u0301", "e\u0301", "x", "y", "z", "Ω", "À", "##É"]
    for line in LINES:
        tokens += list(line)
        tokens += [w.strip(",.:").lower() for w in line.split() if w.isascii()]
    return list(dict.fromkeys(t for t in tokens if t.strip() and t == t.strip()))


def bert_goldens(vocab, texts, option_sets):
    goldens = []
    for name, options in option_sets.items():
        tokenizer = BertTokenizer(str(vocab), **options)
        cases = []
        for text in texts:
            ids = tokenizer.encode(text)
            cases.append({
                "text": text, "tokens": [tokenizer.convert_ids_to_tokens(i) for i in ids[1:-1]], "ids": ids,
                "short": tokenizer.encode(text, max_length=6, truncation=True),
                "decoded": tokenizer.decode(ids, skip_special_tokens=True),
            })
        goldens.append({"name": name, "options": options, "size": len(tokenizer), "cases": cases})
    return goldens


def t5_goldens(model, texts, extra_ids=100):
    tokenizer = T5Tokenizer(str(model), extra_ids=extra_ids, legacy=True)
    plain = sentencepiece.SentencePieceProcessor(model_file=str(model))
    return [{
        "text": text, "ids": tokenizer.encode(text), "plain": plain.encode(text),
        "short": tokenizer.encode(text, max_length=5, truncation=True),
        "decoded": plain.decode([i for i in plain.encode(text)]),
    } for text in texts]


def train(path, rules, lines, size, **options):
    data = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=data, model_type="unigram", vocab_size=size, pad_id=0, eos_id=1,
        unk_id=2, bos_id=-1, hard_vocab_limit=False, minloglevel=2, num_threads=1,
        **({"normalization_rule_tsv": str(rules)} if rules else {}), **options)
    path.write_bytes(data.getvalue())


def write(path, value):
    path.write_text(json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n", encoding="utf-8")


def fixtures(folder):
    folder.mkdir(parents=True, exist_ok=True)
    vocab = folder / "vocab.txt"
    vocab.write_text("\n".join(vocabulary()) + "\n", encoding="utf-8")
    write(folder / "bert.json", bert_goldens(vocab, CASES, OPTION_SETS))
    rules = folder / "rules.tsv"
    with rules.open("w") as out:
        for source, target in RULES:
            out.write(" ".join(f"{c:X}" for c in source) + "\t" + " ".join(f"{c:X}" for c in target) + "\n")
    lines = LINES * 3
    train(folder / "spiece.model", rules, lines, 260, user_defined_symbols=["《", "明月", "|"])
    train(folder / "bytes.model", rules, lines, 480, byte_fallback=True, remove_extra_whitespaces=False)
    rules.unlink()
    write(folder / "t5.json", {n: t5_goldens(folder / f"{n}.model", CASES) for n in ("spiece", "bytes")})


def fuzz(folder):
    folder.mkdir(parents=True, exist_ok=True)
    random.seed(7)
    tokens = vocabulary()
    tokens += [chr(c) for c in range(0x4E00, 0x9FA6)]
    tokens = list(dict.fromkeys(tokens))[:21128]
    vocab = folder / "vocab.txt"
    vocab.write_text("\n".join(tokens) + "\n", encoding="utf-8")
    # What Unicode 14 has assigned or not differs between runtimes, so unassigned code points stay out.
    import unicodedata
    assigned = [chr(c) for c in range(1, 0x32000) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]
    texts = []
    for _ in range(6000):
        pool = random.choice([assigned, assigned[:0x500], list("".join(LINES)), list("".join(CASES))])
        texts.append("".join(random.choice(pool) for _ in range(random.randint(1, 40))))
    texts += CASES
    write(folder / "bert.json", bert_goldens(vocab, texts, {k: OPTION_SETS[k] for k in ("default", "cased")}))
    more = LINES + ["".join(random.choice(LINES) for _ in range(3)) for _ in range(500)] + CASES
    more = [line.replace("\n", " ").replace("\0", "") for line in more if line.strip()]
    train(folder / "spiece.model", None, more, 2000, character_coverage=0.999)
    write(folder / "t5.json", {"spiece": t5_goldens(folder / "spiece.model", texts)})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fuzz", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.fuzz:
        fuzz(arguments.fuzz)
    else:
        fixtures(pathlib.Path(__file__).resolve().parent.parent / "Tests/Fixtures/Tokenizers")


if __name__ == "__main__":
    main()
