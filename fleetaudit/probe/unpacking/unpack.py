"""Expands zlib (RFC 1950) in base64 (RFC 4648), also by a Python without these two modules."""

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
CODE_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
LENGTH_BITS = [0] * 8 + [bits for bits in range(1, 6) for _ in range(4)] + [0]
DISTANCE_BITS = [0, 0] + [bits for bits in range(14) for _ in range(2)]
FIXED_LENGTHS = [8] * 144 + [9] * 112 + [7] * 24 + [8] * 8


def unpack(text):
    # type: (str) -> str
    """Returns the text that was compressed."""
    try:
        import binascii
        import zlib

        return str(zlib.decompress(binascii.a2b_base64(text)).decode("ascii"))
    except ImportError:
        return str(Inflater(decode_base64(text)).inflate().decode("ascii"))


def decode_base64(text):
    # type: (str) -> bytearray
    digits = [ALPHABET.index(char) for char in text if char in ALPHABET]
    data = bytearray()
    for i in range(0, len(digits) - 1, 4):
        a, b, c, d = (digits[i : i + 4] + [0, 0])[:4]
        word = a << 18 | b << 12 | c << 6 | d
        data += bytearray([word >> 16, word >> 8 & 255, word & 255])
    return data[: len(digits) * 6 // 8]


def bases_of(first, extra_bits):
    # type: (int, list[int]) -> list[int]
    """Returns the least value of each code: each stands for as many as its extra bits can count."""
    bases = [first]
    for bits in extra_bits:
        bases.append(bases[-1] + (1 << bits))
    return bases


LENGTHS = bases_of(3, LENGTH_BITS)[:28] + [258]
DISTANCES = bases_of(1, DISTANCE_BITS)


def codes_of(lengths):
    # type: (list[int]) -> dict[int, int]
    """Returns the symbol of each Huffman code, which has a 1 before its bits."""
    code, codes = 0, {}  # type: int, dict[int, int]
    for bits in range(1, 16):
        code <<= 1
        for symbol, own in enumerate(lengths):
            if own == bits:
                codes[1 << bits | code] = symbol
                code += 1
    return codes


class Inflater(object):
    """Expands one DEFLATE stream (RFC 1951); `at` counts bits."""

    def __init__(self, data):
        # type: (bytearray) -> None
        self.data, self.at, self.out = data, 16, bytearray()  # zlib's header has 16 bits

    def take(self, bits):
        # type: (int) -> int
        """Returns the number in the next bits; raises IndexError after the last."""
        value = 0
        for i in range(bits):
            value |= (self.data[self.at >> 3] >> (self.at & 7) & 1) << i
            self.at += 1
        return value

    def symbol(self, codes):
        # type: (dict[int, int]) -> int
        """Returns the symbol of the code that comes next."""
        data, at, code = self.data, self.at, 1
        while code not in codes:
            code = code << 1 | data[at >> 3] >> (at & 7) & 1
            at += 1
        self.at = at
        return codes[code]

    def inflate(self):
        # type: () -> bytearray
        blocks = (self.copy_block, self.fixed_block, self.dynamic_block)
        is_last = 0
        while not is_last:
            is_last = self.take(1)
            blocks[self.take(2)]()
        return self.out

    def copy_block(self):
        # type: () -> None
        start = (self.at + 7) // 8 + 4
        end = start + self.data[start - 4] + 256 * self.data[start - 3]
        self.out += self.data[start:end]
        self.at = end * 8

    def fixed_block(self):
        # type: () -> None
        self.expand(codes_of(FIXED_LENGTHS), codes_of([5] * 30))

    def dynamic_block(self):
        # type: () -> None
        literals, distances, count = self.take(5) + 257, self.take(5) + 1, self.take(4) + 4
        own = [0] * 19
        for place in CODE_ORDER[:count]:
            own[place] = self.take(3)
        lengths = self.code_lengths(codes_of(own), literals + distances)
        self.expand(codes_of(lengths[:literals]), codes_of(lengths[literals:]))

    def code_lengths(self, codes, count):
        # type: (dict[int, int], int) -> list[int]
        lengths = []  # type: list[int]
        while len(lengths) < count:
            symbol = self.symbol(codes)
            if symbol < 16:
                lengths.append(symbol)
            elif symbol == 16:
                lengths += lengths[-1:] * (3 + self.take(2))
            elif symbol == 17:
                lengths += [0] * (3 + self.take(3))
            else:
                lengths += [0] * (11 + self.take(7))
        return lengths

    def expand(self, literals, distances):
        # type: (dict[int, int], dict[int, int]) -> None
        """Appends what a block has up to its end, the symbol 256."""
        out, symbol = self.out, self.symbol(literals)
        while symbol != 256:
            if symbol < 256:
                out.append(symbol)
            else:
                self.repeat(symbol - 257, distances)
            symbol = self.symbol(literals)

    def repeat(self, code, distances):
        # type: (int, dict[int, int]) -> None
        """Appends again what is already there; it may overlap its own copy."""
        length = LENGTHS[code] + self.take(LENGTH_BITS[code])
        code = self.symbol(distances)
        distance = DISTANCES[code] + self.take(DISTANCE_BITS[code])
        for _ in range(length):
            self.out.append(self.out[-distance])
