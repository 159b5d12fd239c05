#!/usr/bin/env python3
"""Write the golden numbers of the n-gram model under Tests/Fixtures/Evaluation.

Usage: python3 Scripts/make_ngram_fixtures.py

Interpolated modified Kneser-Ney by dictionaries and sets, straight from Chen and Goodman (1999), section 3, with the adjusted
counts and the fall-back discounts of KenLM's lmplz; no structure is shared with the Swift model.
"""

import collections
import json
import math
import pathlib
import random

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "Tests/Fixtures/Evaluation"


class KneserNey:
    def __init__(self, texts, start, token_count, order):
        self.start, self.token_count, self.order = start, token_count, order
        raw = collections.Counter()
        before = collections.defaultdict(set)
        for text in texts:
            whole = [start] + text
            for end in range(2, len(whole) + 1):
                for length in range(1, min(end, order) + 1):
                    gram = tuple(whole[end - length:end])
                    raw[gram] += 1
                    if end > length:
                        before[gram].add(whole[end - length - 1])
        self.counts = {
            gram: count if len(gram) == order or gram[0] == start else len(before[gram]) for gram, count in raw.items()
        }
        self.followers = collections.defaultdict(dict)
        for gram, count in self.counts.items():
            self.followers[gram[:-1]][gram[-1]] = count
        self.discounts = [None] + [self.estimate(length) for length in range(1, order + 1)]

    def estimate(self, length):
        found = collections.Counter(count for gram, count in self.counts.items() if len(gram) == length)
        n1, n2, n3, n4 = (found[count] for count in (1, 2, 3, 4))
        if not (n1 and n2 and n3):
            return 0.5, 1.0, 1.5
        share = n1 / (n1 + 2 * n2)
        values = 1 - 2 * share * n2 / n1, 2 - 3 * share * n3 / n2, 3 - 4 * share * n4 / n3
        return values if all(0 <= value <= index + 1 for index, value in enumerate(values)) else (0.5, 1.0, 1.5)

    def probability(self, token, history):
        history = tuple(history)[-(self.order - 1):] if self.order > 1 else ()
        lower = 1 / self.token_count if not history else self.probability(token, history[1:])
        if not history:
            return self.interpolated(token, (), lower)
        return self.interpolated(token, history, lower) if history in self.followers else lower

    def interpolated(self, token, history, lower):
        followers = self.followers[history]
        total = sum(followers.values())
        if total == 0:
            return lower
        discount = self.discounts[len(history) + 1]
        taken = sum(discount[min(count, 3) - 1] for count in followers.values())
        count = followers.get(token, 0)
        kept = count - discount[min(count, 3) - 1] if count else 0
        return kept / total + taken / total * lower


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for order in (1, 2, 3, 5):
        source = random.Random(order)
        # Few tokens, some far more frequent than others, so that every count from one to four occurs.
        def text():
            return [min(int(source.expovariate(0.25)) + 1, 29) for _ in range(source.randint(1, 14))] + [30]
        texts = [text() for _ in range(150)]
        queries = [text() for _ in range(12)] + texts[:4]
        model = KneserNey(texts, 0, 30, order)
        logprobs = []
        for query in queries:
            whole = [0] + query
            logprobs.append([math.log(model.probability(whole[i], whole[:i])) for i in range(1, len(whole))])
        golden = {"start": 0, "tokenCount": 30, "order": order, "texts": texts, "queries": queries, "logprobs": logprobs}
        (FOLDER / f"ngram-{order}.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
        print(f"order {order}: discounts {model.discounts[1:]}")


if __name__ == "__main__":
    main()
