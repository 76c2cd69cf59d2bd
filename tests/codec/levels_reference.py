"""The decoder of coded levels once more, from FORMAT.md alone and slowly, in plain integers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

from mpmath import floor, gamma, gammainc, mp, mpf

from tests.codec.exact_reference import MOST, Adaptive, Bits, _tables

POLYNOMIALS = {2: (0o5, 0o2), 3: (0o13, 0o4), 4: (0o23, 0o4), 5: (0o45, 0o10), 6: (0o103, 0o24), 7: (0o235, 0o126)}
POLYNOMIALS[8] = (0o515, 0o362)
SHAPES = (mpf(1) / 2, mpf(3) / 4, mpf(1), mpf(3) / 2, mpf(2), mpf(3), mpf(6), mpf(16))
FIRST_WEIGHTS = (49152, 8192, 8192, 0)

Levels = tuple[list[list[int]], list[int], list[int]]


@cache
def tails(shape: int) -> list[int]:
    """T[0 … 128]."""
    with mp.workdps(40):
        a = 1 / SHAPES[shape]
        width = gamma(2 * a) / gamma(a)
        exact = [
            2**30 * (1 - mpf(2) ** -10) * gammainc(a, (mpf(i) / 8 * width) ** SHAPES[shape], regularized=True)
            + 2**20 / (1 + mpf(i) / 8) ** 2
            for i in range(129)
        ]
        return [int(floor(value + mpf(1) / 2)) for value in exact]


def factor(exponent: int) -> int:
    """F(e)."""
    return (181 if exponent % 2 else 128) << exponent // 2


def ratio(part: int, whole: int) -> int:
    """The probability part : whole."""
    return min(max((part << 16) // whole, 16), 65520) if whole else 32768


class Form:
    """A level form."""

    def __init__(self, data: bytes) -> None:
        mode, shape, scale = data
        self.bits = mode & 7 and (mode & 7) + 1
        self.by_row, self.by_column, self.mixed, self.row_steps, self.column_steps = (
            mode >> i & 1 for i in range(3, 8)
        )
        self.ascending, self.rans = shape >> 3 & 1, shape >> 6 & 1
        self.tails = tails(shape & 7)
        self.mean = max(1, ((8 + (scale & 7)) << (scale >> 3)) >> 3)

    def tail(self, half_steps: int, magnitude: int) -> int:
        """Q(h, s)."""
        a = min(half_steps * (2**36 // magnitude) >> 20, 1 << 15)
        i = a >> 8
        if i == 128:
            return self.tails[128]
        return self.tails[i] - ((self.tails[i] - self.tails[i + 1]) * (a & 255) >> 8)

    def begins(self, state: int, j: int) -> int:
        """h(j)."""
        if not self.bits:
            return 2 * j - 1
        if state % 2 == 0:
            return 4 * j - 2
        return 1 if j == 1 else 4 * j - 4

    def quantizer(self, state: int) -> int:
        """Which of the three it is."""
        return 1 + (state & 1) if self.bits else 0

    def value(self, state: int, k: int) -> int:
        """The multiple of the step."""
        return 2 * k - (state & 1) * ((k > 0) - (k < 0)) if self.bits else k

    def next(self, state: int, k: int) -> int:
        """The next state."""
        if not self.bits:
            return 0
        feedback, entry = POLYNOMIALS[self.bits]
        return state >> 1 ^ (state & 1) * (feedback >> 1) ^ (k & 1) * (entry >> 1)

    def decode(self, data: bytes, rows: int, columns: int) -> Levels:
        """Values, exponents of rows and of columns."""
        if self.ascending:
            return self.ascend(data, rows, columns)
        return RansLevels(self, data).read(rows, columns) if self.rans else Decisions(self, data).read(rows, columns)

    def ascend(self, data: bytes, rows: int, columns: int) -> Levels:
        """Values of ascending levels, from their distances."""
        bits, self.bits = self.bits, 0
        distances, _, _ = Decisions(self, data).read(rows, columns)
        self.bits = bits
        state, values = 0, []
        for row in distances:
            value, made = 0, []
            for distance in row:
                k = distance + (value + (state & 1) >> 1 if bits else value)
                assert abs(k) < 2**20
                value = self.value(state, k)
                state = self.next(state, k)
                made.append(value)
            values.append(made)
        return values, [], []


class Reader:
    """What both ways to code have in common: the order of things, and sums of magnitudes."""

    first_sum = 0

    def __init__(self, form: Form) -> None:
        self.form = form

    def read(self, rows: int, columns: int) -> Levels:
        """The whole payload."""
        form = self.form
        row_steps = list(self.exponents(rows)) if form.row_steps else []
        column_steps = list(self.exponents(columns)) if form.column_steps else []
        state, values = 0, []
        column_sums, above = [self.first_sum] * columns, [0] * columns
        for r in range(rows):
            row_sum, left = self.first_sum, 0
            values.append([0] * columns)
            for c in range(columns):
                e = (row_steps[r] if row_steps else 0) + (column_steps[c] if column_steps else 0)
                k = self.integer(state, e, (row_sum, c), (column_sums[c], r), (left, above[c]))
                value = values[r][c] = form.value(state, k)
                state = form.next(state, k)
                seen = self.seen(value, e)
                row_sum += seen
                column_sums[c] += seen
                left = above[c] = k
        self.end()
        return values, row_steps, column_steps

    def exponents(self, count: int) -> Iterator[int]:
        """Those of all rows, or of all columns."""
        raise NotImplementedError

    def integer(self, state: int, e: int, row: tuple[int, int], column: tuple[int, int], near: tuple[int, int]) -> int:
        """The next integer; row and column are (sum, number of values)."""
        raise NotImplementedError

    def seen(self, value: int, e: int) -> int:
        """What a value adds to the sums."""
        raise NotImplementedError

    def end(self) -> None:
        """Checks that nothing is left."""


class Decisions(Reader):
    """Without rANS."""

    def __init__(self, form: Form, data: bytes) -> None:
        super().__init__(form)
        self.bits = Bits(data)
        self.size = len(data)
        self.contexts: dict[tuple[object, ...], Adaptive] = {}
        self.weights: dict[tuple[object, ...], list[int]] = {}

    def end(self) -> None:
        assert self.bits.at >= self.size

    def exponents(self, count: int) -> Iterator[int]:
        tree = [Adaptive() for _ in range(32)]
        for _ in range(count):
            node = 1
            while node < 32:
                bit = self.bits.bit(tree[node].p)
                tree[node].learn(bit)
                node = 2 * node + bit
            yield node - 32

    def seen(self, value: int, e: int) -> int:
        return min(abs(value) * factor(e) >> 1, 2**36)

    def integer(self, state: int, e: int, row: tuple[int, int], column: tuple[int, int], near: tuple[int, int]) -> int:
        form, mean = self.form, 4 * self.form.mean
        s = mean
        if form.by_row:
            s = (4 * mean + row[0]) // (4 + row[1])
        if form.by_column:
            z = (4 * mean + column[0]) // (4 + column[1])
            s = s * z // mean if form.by_row else z
        s = min(max(s, 1), 2**36)
        local, whole = (min(max(128 * one // factor(e), 8), 2**36) for one in (s, mean))
        level = sum(
            (64 * local > mean, 16 * local > mean, 4 * local > mean, 2 * local > mean, 4 * local > 3 * mean,
             4 * local > 5 * mean, local > 2 * mean)
        )  # fmt: skip
        first = min((local // (160 if form.bits else 80)).bit_length(), 19)
        quantizer, side = form.quantizer(state), tuple(min(abs(one), 2) for one in near)

        def decide(node: tuple[object, ...], start: Callable[[Callable[[int], int]], int]) -> int:
            chance, rough = (start(lambda j, one=one: form.tail(form.begins(state, j), one)) for one in (local, whole))
            return self.decide(quantizer, level, node, side, chance, rough)

        o = first
        if decide(("first", o), lambda Q: ratio(Q(2**o), 2**30)):
            o += 1
            while o < 20 and decide(("up", o), lambda Q, o=o: ratio(Q(2**o), Q(2**o // 2))):
                o += 1
        else:
            while o and not decide(("down", o), lambda Q, o=o: ratio(Q(2**o // 2) - Q(2**o), 2**30 - Q(2**o))):
                o -= 1
        if o == 0:
            return 0
        magnitude = 1
        for place in range(o - 1):
            half = 2 ** (o - 2 - place)
            low, end = magnitude * 2 * half, (magnitude + 1) * 2 * half
            if place < 3:
                bit = decide(
                    (o, magnitude),
                    lambda Q, low=low, half=half, end=end: ratio(Q(low + half) - Q(end), Q(low) - Q(end)),
                )
            else:
                bit = self.bits.bit(32768)
            magnitude = 2 * magnitude + bit
        side = tuple((one > 0) - (one < 0) for one in near)
        return -magnitude if decide(("sign",), lambda Q: 1024 if form.ascending else 32768) else magnitude

    def decide(
        self, quantizer: int, level: int, node: tuple[object, ...], side: tuple[int, ...], chance: int, rough: int
    ) -> int:
        """One bit, by its start probabilities for the local and the whole magnitude."""
        here = self.context(("level", quantizer, level, node), chance)
        if not self.form.mixed:
            bit = self.bits.bit(here.p)
            here.learn(bit)
            return bit
        whole = self.context(("all", quantizer, node), rough)
        around = self.context(("side", quantizer, node, side), chance)
        weights = self.weights.setdefault((quantizer, node), list(FIRST_WEIGHTS))
        squash, stretch = _tables()
        predictions = [chance, *(min(max(one.p, 16), 65520) for one in (whole, here, around))]
        inputs = [stretch[p // 16] for p in predictions]
        x = sum(one * weight for one, weight in zip(inputs, weights, strict=True)) >> 16
        p = min(max(squash[min(max(x, -MOST), MOST)], 16), 65520)
        bit = self.bits.bit(p)
        for i, one in enumerate(inputs):
            weights[i] += one * (65535 * bit - p) >> 14
        for context in (whole, here, around):
            context.learn(bit)
        return bit

    def context(self, key: tuple[object, ...], p: int) -> Adaptive:
        """The context, begun at p where it is new."""
        if key not in self.contexts:
            made = self.contexts[key] = Adaptive()
            made.p, made.count = p, 48
        return self.contexts[key]


class Alphabet:
    """Symbols and their counts."""

    def __init__(self, counts: list[int], memory: int) -> None:
        self.counts, self.memory = counts, memory
        self.renew()

    def renew(self) -> None:
        total = sum(self.counts)
        if total > 2**14 * 4**self.memory:
            self.counts = [(count + 1) // 2 for count in self.counts]
            total = sum(self.counts)
        size = len(self.counts)
        share, before = 2**32 * (2**15 - size) // total, 0
        self.places = []
        for u, count in enumerate(self.counts):
            self.places.append(u + (before * share >> 32))
            before += count
        self.places.append(2**15)
        self.left = min(max(total // 256, 64, size), 4096)

    def learn(self, symbol: int) -> None:
        self.counts[symbol] += 32
        self.left -= 1
        if self.left == 0:
            self.renew()


class RansLevels(Reader):
    """The fast way."""

    first_sum = 1024

    def __init__(self, form: Form, data: bytes) -> None:
        super().__init__(form)
        self.memory, octaves = divmod(data[0], 32)
        assert self.memory <= 3
        assert octaves <= 20
        self.count = 2**octaves if octaves <= 4 else 8 * octaves - 16
        self.x, self.words, self.at = int.from_bytes(data[1:9], "little"), data[9:], 0
        assert self.x >= 2**32
        self.alphabets: dict[tuple[int, int], Alphabet] = {}

    def end(self) -> None:
        assert self.x == 2**32
        assert self.at == len(self.words)

    def take(self, alphabet: Alphabet, raw_bits: Callable[[int], int]) -> tuple[int, int]:
        """The next symbol and its raw bits."""
        y = self.x & 32767
        symbol = next(u for u in range(len(alphabet.counts)) if y < alphabet.places[u + 1])
        start, end = alphabet.places[symbol : symbol + 2]
        n = raw_bits(symbol)
        self.x = (end - start) * (self.x >> 15) + y - start
        raw = self.x & (2**n - 1)
        self.x >>= n
        if self.x < 2**32:
            assert self.at + 4 <= len(self.words)
            self.x = self.x << 32 | int.from_bytes(self.words[self.at : self.at + 4], "little")
            self.at += 4
        alphabet.learn(symbol)
        return symbol, raw

    def exponents(self, count: int) -> Iterator[int]:
        alphabet = Alphabet([8] * 32, 0)
        for _ in range(count):
            yield self.take(alphabet, lambda _: 0)[0]

    def seen(self, value: int, e: int) -> int:
        return min(abs(value) * factor(e) >> 3, 2**12 * self.form.mean) * (2**40 // self.form.mean) >> 32

    def integer(self, state: int, e: int, row: tuple[int, int], column: tuple[int, int], near: tuple[int, int]) -> int:
        form, level = self.form, 32
        if form.by_row or form.by_column or form.row_steps or form.column_steps:
            p = 1
            for present, (total, count) in ((form.by_row, row), (form.by_column, column)):
                p *= max(1, total * ((2**32 - 1) // (4 + count)) >> 32) if present else 256
            b = p.bit_length() - 1
            q = 2**15 * p // 2**b
            level = min(max(2 * b + (q >= 38968) + (q >= 55109) - e, 0), 47)
        symbol, raw = self.take(self.alphabet(state, level), lambda symbol: max(0, (symbol + 1) // 2 // 8 - 1))
        magnitude = least((symbol + 1) // 2) + raw
        return magnitude if symbol % 2 else -magnitude

    def alphabet(self, state: int, level: int) -> Alphabet:
        """That of a quantizer and level."""
        key = (self.form.quantizer(state), level)
        if key not in self.alphabets:
            magnitude = max(8, 4 * self.form.mean * factor(level) >> 23)
            beyond = [self.form.tail(self.form.begins(state, least(t)), magnitude) for t in range(1, self.count)]
            beyond = [2**30, *beyond, 0]
            counts = [1 + (beyond[0] - beyond[1] >> 16)]
            for t in range(1, self.count):
                counts += [1 + (beyond[t] - beyond[t + 1] >> 17)] * 2
            self.alphabets[key] = Alphabet(counts, self.memory)
        return self.alphabets[key]


def least(token: int) -> int:
    """The least magnitude of a token."""
    n = max(0, token // 8 - 1)
    return token - 8 * n << n
