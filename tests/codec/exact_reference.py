"""The exact coder's decoder once more, from FORMAT.md alone and slowly, in plain integers."""

from __future__ import annotations

from collections import defaultdict
from functools import cache

MOST = 3071
WEIGHT = 19661
MOST_MIXED = 1 << 17


@cache
def _tables() -> tuple[dict[int, int], list[int]]:
    squash, e = {}, 1 << 40
    for x in range(MOST + 1):
        squash[x] = min(65535, ((1 << 56) // (((1 << 40) + e) // 16)) // 16)
        squash[-x] = max(1, 65536 - squash[x])
        e = e * 1095225038175 >> 40
    order = sorted(squash)
    stretch = [max((x for x in order if squash[x] <= 16 * i + 8), default=-MOST) for i in range(4096)]
    return squash, stretch


class Bits:
    """The arithmetic decoder."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 4
        self.low, self.high = 0, (1 << 32) - 1
        self.code = int.from_bytes((data + bytes(4))[:4], "big")

    def bit(self, p: int) -> int:
        middle = self.low + ((self.high - self.low) * min(max(p, 16), 65520) >> 16)
        bit = int(self.code <= middle)
        if bit:
            self.high = middle
        else:
            self.low = middle + 1
        while self.low >> 24 == self.high >> 24:
            byte = self.data[self.at] if self.at < len(self.data) else 0
            self.low = self.low << 8 & 0xFFFFFFFF
            self.high = (self.high << 8 | 255) & 0xFFFFFFFF
            self.code = (self.code << 8 | byte) & 0xFFFFFFFF
            self.at += 1
        return bit


class KnownBits(Bits):
    """The same, after bits that are known: they are given as if they were decoded."""

    def __init__(self, known: bytes, data: bytes) -> None:
        super().__init__(data)
        self.known = [byte >> place & 1 for byte in reversed(known) for place in range(8)]

    def bit(self, p: int) -> int:
        return self.known.pop() if self.known else super().bit(p)


class Adaptive:
    """A probability that learns."""

    def __init__(self) -> None:
        self.p, self.count = 32768, 0

    def learn(self, bit: int) -> None:
        self.p += (65535 * bit - self.p) * (131072 // (2 * self.count + 3)) >> 16
        self.count = min(self.count + 1, 1000)


def mix(bits: Bits, inputs: list[Adaptive], weights: list[int]) -> int:
    """One bit by the mixed predictions of several."""
    squash, stretch = _tables()
    stretched = [stretch[one.p >> 4] for one in inputs]
    x = sum(s * w for s, w in zip(stretched, weights, strict=True)) >> 16
    p = min(max(squash[min(max(x, -MOST), MOST)], 16), 65520)
    bit = bits.bit(p)
    for i, s in enumerate(stretched):
        weights[i] += s * (65535 * bit - p) >> 14
    for one in inputs:
        one.learn(bit)
    return bit


def decode_words(data: bytes, rows: int, columns: int, width: int, lanes: int, transform: int, modeled: int) -> bytes:
    """Inverse of ``_C.encode_exact``."""
    plain = -(-rows * columns * (8 * width - modeled) // 8)
    fields, bits = int.from_bytes(data[:plain], "little"), Bits(data[plain:])
    return _words(fields, bits, rows * columns, columns, rows > 1, (width, lanes, transform, modeled))


def continue_words(known: bytes, data: bytes, size: int, columns: int) -> bytes:
    """Inverse of ``_C.encode_continued``."""
    return _words(0, KnownBits(known, data), len(known) + size, columns, True, (1, 1, 0, 8))[len(known) :]


def _words(fields: int, bits: Bits, count: int, columns: int, in_rows: bool, form: tuple[int, int, int, int]) -> bytes:
    width, lanes, transform, modeled = form
    back = columns if in_rows else 2 * lanes
    size, rest = 8 * width, 8 * width - modeled
    mask = (1 << size) - 1
    trees: defaultdict[tuple[object, ...], Adaptive] = defaultdict(Adaptive)
    weights = [[WEIGHT] * 4 for _ in range(size)]
    words: list[int] = []
    seen: list[int] = []
    for i in range(count):
        left = seen[i - lanes] if i >= lanes else 0
        other = seen[i - back] if i >= back else 0
        value = done = 0
        for k in range(-(-modeled // 8)):
            near, far = ((one >> 8 * (width - 1 - k)) & 255 for one in (left, other))
            above = 8 * (width - k)
            contexts = [
                (k, 0, done & 255),
                (k, 1, near, left >> above == done),
                (k, 2, far, other >> above == done),
                (k, 3, (near + far) // 2 if k == 0 else None),
            ]
            node = 1
            for place in range(8 * k, min(8 * k + 8, modeled)):
                inputs = [trees[(*context, node)] for context in contexts]
                if count <= MOST_MIXED:
                    bit = mix(bits, inputs, weights[place])
                else:
                    one = inputs[3 if k == 0 else 0]
                    bit = bits.bit(one.p)
                    one.learn(bit)
                node = 2 * node + bit
            byte = node << max(0, 8 * k + 8 - modeled) & 255
            done = done << 8 | byte
            value |= byte << 8 * (width - 1 - k)
        value |= fields >> i * rest & ((1 << rest) - 1)
        seen.append(value)
        d = value >> 1 ^ -(value & 1)
        before = {2: lanes, 3: columns}.get(transform, 0)
        if transform == 1:
            words.append((value >> 1 | value << (size - 1)) & mask)
        elif before:
            words.append((d + (words[i - before] if i >= before else 0)) & mask)
        else:
            words.append(value)
    return b"".join(word.to_bytes(width, "little") for word in words)


def decode_bools(data: bytes, rows: int, columns: int) -> bytes:
    """Inverse of ``_C.encode_bools``."""
    bits, out = Bits(data), bytearray()
    cells: defaultdict[tuple[object, ...], Adaptive] = defaultdict(Adaptive)
    weights = [WEIGHT] * 4

    def at(back: int) -> int:
        i = len(out) - back
        return out[i] if 0 <= i < len(out) else 0

    for _ in range(rows * columns):
        contexts: list[tuple[object, ...]] = [
            (0,),
            (1, *(at(back) for back in range(1, 9))),
            (2, at(1), at(2), at(columns), at(columns - 1), at(columns + 1)),
            (3, *(at(row * columns) for row in (2, 1, 3, 4))),
        ]
        out.append(mix(bits, [cells[context] for context in contexts], weights))
    return bytes(out)
