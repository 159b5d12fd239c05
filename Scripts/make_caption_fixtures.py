#!/usr/bin/env python3
"""Writes Tests/Fixtures/Evaluation/captions.json: what pycocoevalcap makes of captions written for this file.

    pip install pycocoevalcap==1.2
    Scripts/make_caption_fixtures.py

--check REFERENCES CAPTIONS compares `tihua eval caption --json` on the same files instead: it prints the public
implementation's numbers for files with lines `picture<TAB>caption`, split into characters.
"""
import argparse
import collections
import json
import pathlib
import random
import unicodedata

import numpy
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

FILE = pathlib.Path(__file__).parent.parent / "Tests/Fixtures/Evaluation/captions.json"

# Candidate, then references: fluent, short, long, repeated, empty, Latin, nothing in common.
PICTURES = [
    ("一只白猫趴在窗台上晒太阳。", ["白色的猫躺在窗台上。", "一只猫在窗边晒太阳", "窗台上有一只睡着的白猫。"]),
    ("两个孩子在沙滩上放风筝", ["沙滩上，两个小孩正在放风筝。", "孩子们在海边放风筝", "两个孩子拉着风筝线奔跑", "天上有一只红风筝"]),
    ("一个人在骑车", ["一位穿蓝色T恤的老人骑着自行车穿过小巷。", "老人骑车"]),
    ("湖面上有一条小船小船小船小船", ["湖面上漂着一条小船", "清晨的湖上有一条小船。", "小船停在湖心"]),
    ("", ["一棵大树", "田野里的一棵大树。"]),
    ("山", ["山", "远处的山"]),
    ("WiFi标志挂在咖啡馆的墙上", ["咖啡馆墙上的wifi标志", "墙上贴着ＷｉＦｉ！"]),
    ("飞机起飞", ["一桌子的菜", "桌上摆着热气腾腾的饺子"]),
    ("一个穿红裙子的女孩在雪地里奔跑，她笑得很开心，身后跟着一只黑色的小狗", ["女孩和狗在雪地里跑", "雪地里的红裙女孩"]),
    ("一群鸽子从广场上飞起来", ["一群鸽子从广场上飞起来"]),
    ("街上有3辆公共汽车", ["三辆公共汽车停在街上", "街上有3辆车", "公共汽车排成一排，一排有3辆"]),
    ("秋天的银杏树下铺满了黄叶", ["银杏树下满地黄叶", "秋天，银杏叶落了一地。", "金黄的银杏树"]),
]

# Spaces between the words.
WORDS = [
    ("一 只 狗 在 草地 上 奔跑", ["一 只 棕色 的 狗 跑 过 草地", "草地 上 有 一 只 狗"]),
    ("男人 在 弹 吉他", ["一个 男人 坐 着 弹 吉他", "男人 弹 吉他", "舞台 上 的 吉他手"]),
    ("雨 中 的 街道", ["下雨 的 街道 上 有 行人", "雨 中 的 街道"]),
]

# Several captions for a picture.
GROUPS = [
    ["一只猫在睡觉", "一只猫在沙发上睡觉", "沙发上的猫"],
    ["孩子们在踢球", "孩子们在踢球", "操场上有人踢足球"],
    ["只有一句"],
    ["船", "帆船驶过海面"],
]


def characters(caption):
    """Restates CaptionSegmentation.characters."""
    tokens, is_open = [], False
    for character in unicodedata.normalize("NFKC", caption).lower():
        if unicodedata.category(character)[0] not in "LMN":
            is_open = False
            continue
        is_han = unicodedata.name(character, "").startswith("CJK UNIFIED") or character == "〇"
        if is_han or not is_open:
            tokens.append(character)
        else:
            tokens[-1] += character
        is_open = not is_han
    return tokens


def measure(candidates, references):
    """Lists of tokens to the public implementation's numbers."""
    join = lambda tokens: " ".join(tokens)
    gts = {index: [join(tokens) for tokens in captions] for index, captions in enumerate(references)}
    res = {index: [join(tokens)] for index, tokens in enumerate(candidates)}
    scorer = BleuScorer(n=4)
    for index in gts:
        scorer += (res[index][0], gts[index])
    bleu, bleu_each = scorer.compute_score(option="closest")
    rouge, rouge_each = Rouge().compute_score(gts, res)
    cider, cider_each = Cider().compute_score(gts, res)
    return {
        "bleu": bleu,
        "bleuEach": numpy.array(bleu_each).T.tolist(),
        "rougeL": float(rouge),
        "rougeLEach": rouge_each.tolist(),
        "cider": float(cider),
        "ciderEach": cider_each.tolist(),
    }


def case(name, candidates, references):
    return {"name": name, "candidates": candidates, "references": references, **measure(candidates, references)}


def self_bleu(groups):
    scores = []
    for group in groups:
        for index, caption in enumerate(group):
            others = group[:index] + group[index + 1 :]
            if others:
                scorer = BleuScorer(n=4)
                scorer += (" ".join(caption), [" ".join(other) for other in others])
                scores.append(scorer.compute_score(option="closest")[1][3][0])
    return sum(scores) / len(scores)


def drawn(seed):
    """Sentences of a few letters, so that runs are shared often."""
    generator = random.Random(seed)
    sentence = lambda: [generator.choice("abcdef") for _ in range(generator.randint(1, 14))]
    return [sentence() for _ in range(30)], [[sentence() for _ in range(generator.randint(1, 5))] for _ in range(30)]


def check(references, captions):
    groups = collections.OrderedDict()
    for line in open(references, encoding="utf-8"):
        picture, caption = line.rstrip("\n").split("\t")
        groups.setdefault(picture, []).append(characters(caption))
    candidates = {}
    for line in open(captions, encoding="utf-8"):
        picture, caption = line.rstrip("\n").split("\t")
        candidates.setdefault(picture, characters(caption))
    common = [picture for picture in candidates if picture in groups]
    found = measure([candidates[picture] for picture in common], [groups[picture] for picture in common])
    print(json.dumps({"pictures": len(common), **{k: v for k, v in found.items() if not k.endswith("Each")}}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", nargs=2, metavar=("REFERENCES", "CAPTIONS"))
    options = parser.parse_args()
    if options.check:
        return check(*options.check)
    split = lambda pictures, tokens: ([tokens(c) for c, _ in pictures], [[tokens(r) for r in rs] for _, rs in pictures])
    cases = [
        case("characters", *split(PICTURES, characters)),
        case("words", *split(WORDS, str.split)),
        case("one picture", *split(PICTURES[:1], characters)),
        case("drawn", *drawn(1)),
    ]
    groups = [[characters(caption) for caption in group] for group in GROUPS]
    document = {
        "cases": cases,
        "texts": [{"text": text, "tokens": characters(text)} for c, rs in PICTURES for text in [c, *rs]],
        "groups": groups,
        "selfBleu": self_bleu(groups),
    }
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
