#!/usr/bin/env python3
"""Check the imagery bank and the label files.

Usage: python3 Scripts/check_bank.py [--root DIR]

Prints one line for each fault (file, line, what is wrong) and a summary; the exit status is 1 when there is a fault.
"""

import argparse
import collections
import pathlib
import re
import sys

KINDS = "- person medium mute".split()
# What may not be printed: what it means today is not what it meant, or it says nothing.
BANNED = "青楼 白人 阳光 花园 沐浴".split()
GROUP_MIN = 2
CATEGORIES = "天象 山水 草木 鸟兽 人事 器物 建筑 时令 光色".split()
HYPERNYMS = (
    "狗 猫 鸟 鱼 蛇 龟 蛙 蜥蜴 昆虫 蜘蛛 猛兽 走兽 猴 马 牛 羊 贝 虾蟹 海物 海兽 "
    "车 船 飞机 建筑 桥 道路 山 海 水 花 树 草 菌 水果 蔬菜 食物 饮品 衣服 帽 鞋 首饰 家具 器具 餐具 乐器 兵器 "
    "机器 电器 球 运动 灯火 书画 玩具 人"
).split()
LABELS = {
    "intel": "buildings forest glacier mountain sea street",
    "scene15": "bedroom coast forest highway industrial insidecity kitchen livingroom mountain office opencountry store"
    " street suburb tallbuilding",
    "weather": "cloudy rain shine sunrise",
    "flowers": "daisy dandelion roses sunflowers tulips",
    "guohua": "landscape flowerBird human",
}
CALTECH = (
    "Leopards anchor barrel bonsai buddha butterfly chair chandelier crab crayfish cup dalmatian dolphin dragonfly elephant"
    " euphonium ewer ferry flamingo grand_piano hawksbill hedgehog ibis kangaroo ketch lamp llama lobster lotus mandolin"
    " mayfly minaret nautilus octopus pagoda panda pigeon pyramid rooster schooner starfish strawberry sunflower umbrella"
    " water_lilly wild_cat windsor_chair yin_yang"
)
PACS = [f"{kind}/{label}" for kind in ("art_painting", "photo")
        for label in "dog elephant giraffe guitar horse house person".split()]
PAINTED = re.compile("画")
HAN = re.compile(r"[\u4e00-\u9fff]+")
ENTRIES_MIN, CAPTIONS_MIN, CAPTIONS_MAX = 720, 20, 40
DESCRIPTION_MIN, DESCRIPTION_MAX = 4, 20
WORDS_PER_DESCRIPTION_MAX = 3

faults = []


def fault(path, line, text):
    faults.append(f"{path}:{line}: {text}")


def read(path, header):
    """The rows of a tab separated file as (line number, fields); faults for a wrong header or width."""
    if not path.is_file():
        fault(path, 0, "no such file")
        return []
    text = path.read_text(encoding="utf-8")
    if "\r" in text or not text.endswith("\n"):
        fault(path, 0, "lines must end in LF, the last one too")
    lines = text.splitlines()
    if not lines or lines[0].split("\t") != header:
        fault(path, 1, f"the header must be {header}")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        fields = line.split("\t")
        if len(fields) != len(header) or any(not f or f != f.strip() for f in fields):
            fault(path, number, f"needs {len(header)} non-empty, trimmed columns: {line!r}")
        else:
            rows.append((number, fields))
    return rows


def check_caption(path, number, caption, shortest=DESCRIPTION_MIN):
    if not HAN.fullmatch(caption):
        fault(path, number, f"only Han characters, no punctuation: {caption}")
    if not shortest <= len(caption) <= DESCRIPTION_MAX:
        fault(path, number, f"{len(caption)} characters, not {shortest} to {DESCRIPTION_MAX}: {caption}")


def common(text):
    """Whether every character is in GB 2312: the bank keeps out rare characters."""
    try:
        text.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return True


def check_bank(path):
    rows = read(path, ["word", "category", "descriptions", "kind", "group"])
    groups = collections.defaultdict(list)
    words, users, categories = {}, collections.defaultdict(list), collections.Counter()
    for number, (word, category, joined, kind, group) in rows:
        if word in words:
            fault(path, number, f"{word} is on line {words[word]} already")
        words[word] = number
        if not (HAN.fullmatch(word) and 1 <= len(word) <= 3):
            fault(path, number, f"a word has 1 to 3 Han characters: {word}")
        if category not in CATEGORIES:
            fault(path, number, f"unknown category {category}")
        if kind not in KINDS:
            fault(path, number, f"unknown kind {kind}")
        if word in BANNED:
            fault(path, number, f"{word} must not be printed")
        if group != "-":
            groups[group].append(word)
        if not common(word):
            fault(path, number, f"{word} has a character outside GB 2312")
        categories[category] += 1
        descriptions = joined.split(" | ")
        if not 1 <= len(descriptions) <= 3 or len(set(descriptions)) != len(descriptions):
            fault(path, number, f"needs one to three different descriptions: {joined}")
        for description in descriptions:
            check_caption(path, number, description)
            users[description].append(word)
    for description, sharing in users.items():
        if len(sharing) > WORDS_PER_DESCRIPTION_MAX:
            fault(path, 0, f"{description} stands for {len(sharing)} words: {' '.join(sharing)}")
    for group, members in groups.items():
        if group not in members:
            fault(path, 0, f"group {group} is not named after one of its words: {' '.join(members)}")
        if len(members) < GROUP_MIN:
            fault(path, 0, f"group {group} has {len(members)} word")
    if len(rows) < ENTRIES_MIN:
        fault(path, 0, f"{len(rows)} entries, fewer than {ENTRIES_MIN}")
    counts = " ".join(f"{c} {categories[c]}" for c in CATEGORIES)
    print(f"{path.name}: {len(rows)} words, {len(users)} descriptions, {len(groups)} groups ({counts})")
    return words


def check_labels(path, expected, fewest, most, shortest=DESCRIPTION_MIN):
    captions = collections.defaultdict(list)
    for number, (label, caption) in read(path, ["label", "caption"]):
        check_caption(path, number, caption, shortest)
        if caption in captions[label]:
            fault(path, number, f"{label} has this caption already: {caption}")
        captions[label].append(caption)
        if expected is not None and label not in expected:
            fault(path, number, f"unknown label {label}")
        if "/" in label and label.startswith("art_painting/") != bool(PAINTED.search(caption)):
            fault(path, number, f"a painting is said to be one, a photo is not: {caption}")
        if expected is None and not re.fullmatch(r"n\d{8}", label):
            fault(path, number, f"not a WordNet id: {label}")
    for label in expected or captions:
        if not fewest <= len(captions[label]) <= most:
            fault(path, 0, f"{label} has {len(captions[label])} captions, not {fewest} to {most}")
    print(f"{path.name}: {len(captions)} labels, {sum(map(len, captions.values()))} captions")
    return captions


def check_classes(path):
    rows = read(path, ["index", "name", "hypernym"])
    names = {}
    for position, (number, (index, name, hypernym)) in enumerate(rows):
        if index != str(position):
            fault(path, number, f"index {index} where {position} is due")
        if not (HAN.fullmatch(name) and len(name) <= 10):
            fault(path, number, f"a name has 1 to 10 Han characters: {name}")
        if name in names:
            fault(path, number, f"{name} is class {names[name]} already")
        names[name] = index
        if hypernym not in HYPERNYMS:
            fault(path, number, f"unknown hypernym {hypernym}")
    if len(rows) != 1000:
        fault(path, 0, f"{len(rows)} classes, not 1000")
    used = collections.Counter(fields[2] for _, fields in rows)
    print(f"{path.name}: {len(rows)} classes, {len(used)} hypernyms")


def check_rules(path, words, labels):
    """The rules' words are of the bank, their labels of the tables, their classes 0 to 999."""
    seen = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line or line.startswith("#"):
            continue
        columns = line.split("\t")
        if len(columns) != 3 or not (columns[1] or columns[2]):
            fault(path, number, "needs a word, labels and patterns, one of the two not empty")
            continue
        word, given, patterns = columns
        if word not in words:
            fault(path, number, f"{word} is no word of the bank")
        if word in seen:
            fault(path, number, f"{word} is on line {seen[word]} already")
        seen[word] = number
        given = given.split(" ") if given else []
        if len(set(given)) != len(given):
            fault(path, number, f"{word} has a label twice")
        for label in given:
            known = re.fullmatch(r"t:\d{1,3}", label) if label.startswith("t:") else label in labels
            if not known:
                fault(path, number, f"unknown label {label}")
        for pattern in patterns.split("|") if patterns else []:
            pieces = pattern.split("+")
            if all(p.startswith("!") for p in pieces) or any(not a for p in pieces for a in p.lstrip("!").split("/")):
                fault(path, number, f"nothing must stand in the pattern {pattern!r}, or a piece is empty")
    untaught = len(words) - len(seen)
    print(f"{path.name}: {len(seen)} words with rules, {untaught} without")


def check_expected(path, words):
    """The expected and the forbidden words of pictures are of the bank, and no word is both."""
    count = 0
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line or line.startswith("#"):
            continue
        columns = line.split("\t")
        if len(columns) != 4:
            fault(path, number, "needs a shard, a key, expected words and forbidden words")
            continue
        count += 1
        expected, forbidden = columns[2].split(" "), columns[3].split(" ")
        for word in expected + forbidden:
            if word not in words:
                fault(path, number, f"{word} is no word of the bank")
        for word in set(expected) & set(forbidden):
            fault(path, number, f"{word} is both expected and forbidden")
    print(f"eval/{path.name}: {count} pictures")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = pathlib.Path(__file__).resolve().parent.parent
    parser.add_argument("--root", type=pathlib.Path, default=here, help="checkout to check")
    root = parser.parse_args().root
    words = check_bank(root / "Weights/mini/imagery.tsv")
    known = set()
    for name, labels in LABELS.items():
        known |= check_labels(root / f"Recipes/labels/{name}.tsv", labels.split(), CAPTIONS_MIN, CAPTIONS_MAX).keys()
    known |= check_labels(root / "Recipes/labels/caltech.tsv", CALTECH.split(), 5, 6).keys()
    known |= check_labels(root / "Recipes/labels/pacs.tsv", PACS, 8, 8, shortest=3).keys()
    synsets = check_labels(root / "Recipes/labels/imagenet.tsv", None, 2, 3, shortest=3)
    if len(synsets) != 200:
        fault(root / "Recipes/labels/imagenet.tsv", 0, f"{len(synsets)} WordNet ids, not 200")
    known |= synsets.keys()
    check_rules(root / "Recipes/labels/imagery.tsv", words, known)
    check_expected(root / "Recipes/eval/imagery.tsv", words)
    check_classes(root / "Recipes/labels/imagenet1k.tsv")
    for line in faults:
        print(line)
    print(f"{len(faults)} faults")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
