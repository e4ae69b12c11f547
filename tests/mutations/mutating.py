"""Damage to files, by a seed: bytes, tokens, numbers, lines, and structure as each format has it."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from random import Random

Mutation = Callable[[bytes, Random], bytes]

DIGITS = b"1" * 4400
ODD_NUMBERS = (
    *(b"010", b"-010", b"1_0", b"1:30", b"1:30.5", b"0x1F", b"0o17", b"0b11", b"1e5", b"1e-5", b"1.0e+5", b"1e999"),
    *(
        b"-1e999",
        b"1e-999",
        b"nan",
        b".nan",
        b"NaN",
        b"inf",
        b"-.inf",
        b"Infinity",
        b"-1",
        b"-0",
        b"+1",
        b"5e9",
        b"1.5",
    ),
    *(
        b"100000000000000000000",
        b"1000000000",
        b"9" * 330,
        DIGITS,
        b"1,5",
        b"1 000",
        b"1.",
        b".5",
        b"--1",
        b"1e",
        b"1f",
    ),
    *("\u0663".encode(), "1\uff12".encode(), "\u00bd".encode(), "\u22121".encode(), b"00.5", b"1/2", b"50%"),
    *(
        b"yes",
        b"no",
        b"on",
        b"off",
        b"true",
        b"TRUE",
        b"False",
        b"null",
        b"~",
        b"None",
        b"",
        b"2001-99-99",
        b"2001-12-14",
    ),
)
ORDINARY_NUMBERS = (
    b"0",
    b"1",
    b"2",
    b"7",
    b"12",
    b"64",
    b"0.3",
    b"0.125",
    b"1e-2",
    b"7.5e-1",
    b"3.",
    b".25",
    b"+2",
    b"1E1",
)
ODD_WORDS = (
    *(
        b"!!int abc",
        b"!!float 1",
        b"!!bool yes",
        b"!!python/object/apply:os.system ['true']",
        b"!local x",
        b"*a",
        b"&a 1",
    ),
    *(b"'1'", b'"1e3"', b"[1, 2]", b"{a: 1}", b"[]", b"{}", b'"\\ud800"', b'"\\0"', b'"\\UFFFFFFFF"', b"~nosuchuser/x"),
    *(
        b"~",
        b"a" * 300,
        b"a/" * 3000,
        b"../" * 40,
        b"\xff\xfe",
        b"\x00",
        "\u202e".encode(),
        b"\xed\xa0\x80",
        b"|",
        b">",
    ),
    *(
        b"<<: {a: 1}",
        b"? [a]",
        b"- 1",
        b"---",
        b"%YAML 1.1",
        b"@",
        b"`",
        b"\t",
        b"# x",
        b"a: 1: 2",
        b"<a>",
        b"&lt;",
        b"]]>",
    ),
)
_TOKEN = re.compile(rb"[\w.+\-]+")
_NUMBER = re.compile(rb"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.])")


def mutated(data: bytes, kind: str, random: Random) -> bytes:
    """A file with one to three kinds of damage.

    Args:
        data: A valid file.
        kind: yaml, xml, csv, json, text, jpeg, png, tiff or image; says what structure it has.
        random: What is done, and where.
    """
    is_text = kind not in ("jpeg", "png", "tiff", "image")
    general = (
        (_ordinary, _ordinary, _numbers, _numbers, _tokens, _tokens, _lines, _bytes) if is_text else (_bytes, _bytes)
    )
    known = (*general, *_STRUCTURES.get(kind, ()))
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        data = random.choice(known)(data, random)
    return data


def _numbers(data: bytes, random: Random) -> bytes:
    return _replaced(data, _NUMBER, random.choice(ODD_NUMBERS), random)


def _ordinary(data: bytes, random: Random) -> bytes:
    return _replaced(data, _NUMBER, random.choice(ORDINARY_NUMBERS), random)


def _tokens(data: bytes, random: Random) -> bytes:
    others = [each.group() for each in _TOKEN.finditer(data)] or [b"x"]
    pool = random.choice((ODD_WORDS, ODD_NUMBERS, others))
    return _replaced(data, _TOKEN, random.choice(pool), random)


def _replaced(data: bytes, pattern: re.Pattern[bytes], new: bytes, random: Random) -> bytes:
    found = list(pattern.finditer(data))
    if not found:
        return data + new
    start, end = random.choice(found).span()
    return data[:start] + new + data[end:]


def _lines(data: bytes, random: Random) -> bytes:
    lines = data.split(b"\n")
    place, other = random.randrange(len(lines)), random.randrange(len(lines))
    what = random.randrange(8)
    if what == 0:
        del lines[place]
    elif what == 1:
        lines.insert(other, lines[place])
    elif what == 2:
        lines[place], lines[other] = lines[other], lines[place]
    elif what == 3:
        lines[place:place] = [lines[place]] * random.choice((2, 50, 3000))
    elif what == 4:
        lines[place] = random.choice((b"  ", b"\t", b"    ", b"- ")) + lines[place]
    elif what == 5:
        lines[place] = lines[place].lstrip() + random.choice((b"\r", b" ", b",", b":", b" # x"))
    elif what == 6:
        lines.insert(place, random.choice(ODD_WORDS))
    else:
        lines[place:] = []
    return b"\n".join(lines)


def _bytes(data: bytes, random: Random) -> bytes:
    if not data:
        return bytes([random.randrange(256)])
    start = random.randrange(len(data))
    end = min(start + random.choice((1, 1, 2, 4, 16)), len(data))
    what = random.randrange(8)
    if what == 0:
        return data[:start] + bytes([data[start] ^ (1 << random.randrange(8))]) + data[start + 1 :]
    if what == 1:
        return data[:start] + bytes(random.randrange(256) for _ in range(end - start)) + data[end:]
    if what == 2:
        return data[:start] + data[end:]
    if what == 3:
        return data[:start] + data[start:end] * random.choice((2, 10, 2000)) + data[end:]
    if what == 4:
        return data[:start]
    if what == 5:
        return data[:start] + random.choice((b"\x00", b"\xff", b"\x80", b"\xc3", b"\xef\xbb\xbf", b"\n")) + data[start:]
    if what == 6:
        return data[:start] + random.choice((b"\xff" * 4, b"\x00" * 4, b"\x7f\xff\xff\xff")) + data[start + 4 :]
    return b"\xef\xbb\xbf" + data if random.random() < 0.5 else data + data


# Structure


def _yaml_structure(data: bytes, random: Random) -> bytes:
    lines = [line for line in data.split(b"\n") if b":" in line] or [b"a: 1"]
    line = random.choice(lines)
    bomb = [b"b0: &b0 [x, x, x, x, x, x, x, x, x]"]
    bomb += [b"b%d: &b%d [%s]" % (n, n, b", ".join([b"*b%d" % (n - 1)] * 9)) for n in range(1, 10)]
    what = random.randrange(8)
    if what == 0:
        return b"\n".join(bomb) + b"\n" + data
    if what == 1:
        return data.replace(line, line.split(b":")[0] + b": " + b"[" * random.choice((5, 50, 5000)), 1)
    if what == 2:
        return data + b"\n" + line + b"\n"
    if what == 3:
        return data.replace(line, line.split(b":")[0] + b": &a [*a]", 1)
    if what == 4:
        return data.replace(b": ", b":", 1)
    if what == 5:
        return data + b"\n---\n" + data
    if what == 6:
        return b"a: " + b"x" * 300_000 + b"\n" + data
    return b"".join(b"k%d: %d\n" % (n, n) for n in range(30_000)) + data


def _xml_structure(data: bytes, random: Random) -> bytes:
    head = random.choice(
        (
            b'<?xml version="1.0" encoding="no-such"?>',
            b'<?xml version="1.0" encoding="utf-16"?>',
            b'<?xml version="1.0" encoding="shift_jis"?>',
            b'<?xml version="1.0" encoding="latin-1"?>',
            b'<!DOCTYPE a [<!ENTITY x "xxxxxxxx"><!ENTITY y "&x;&x;&x;&x;">]>',
            b'<!DOCTYPE a SYSTEM "file:///etc/passwd">',
            b"<a>" * 20_000,
        )
    )
    if random.random() < 0.7:
        return head + data
    return data.replace(b"</object>", b"<part>" * 3000 + b"</part>" * 3000 + b"</object>", 1)


def _json_structure(data: bytes, random: Random) -> bytes:
    line = data.split(b"\n")[0]
    deep = b"[" * 100_000 if random.random() < 0.5 else b'{"a":' * 50_000
    twice = line.replace(b"{", b'{"fitness": 0.9, ', 1)
    return random.choice((deep + data, line.replace(b": ", b": " + deep, 1), twice, b'{"hyperparameters": {}}', b"[]"))


def _csv_structure(data: bytes, random: Random) -> bytes:
    lines = data.split(b"\n")
    cells = [line.split(b",") for line in lines]
    column = random.randrange(len(cells[0]))
    what = random.randrange(4)
    if what == 0:
        cells = [row[:column] + row[column + 1 :] for row in cells]
    elif what == 1:
        cells = [row[:column] + row[column : column + 1] * 2 + row[column + 1 :] for row in cells]
    elif what == 2:
        cells = [[*row, b"7"] if row != [b""] else row for row in cells]
    else:
        cells[0][column] = random.choice(cells[0])
    return b"\n".join(b",".join(row) for row in cells)


def _jpeg_structure(data: bytes, random: Random) -> bytes:
    marker = random.choice((b"\xff\xc0", b"\xff\xc2", b"\xff\xe1", b"\xff\xdb", b"\xff\xc4", b"\xff\xda"))
    start = data.find(marker)
    if start < 0 or start + 9 > len(data):
        return data
    new = struct.pack(">H", random.choice((0, 1, 2, 8, 255, 3000, 20_000, 65_535)))
    place = start + random.choice((2, 5, 7))
    return data[:place] + new + data[place + 2 :]


def _png_structure(data: bytes, random: Random) -> bytes:
    head = bytearray(data[16:29])
    if len(head) < 13:
        return data
    struct.pack_into(">I", head, random.choice((0, 4)), random.choice((0, 1, 3000, 10_000, 65_535, 2**31 - 1)))
    if random.random() < 0.5:
        head[random.choice((8, 9, 12))] = random.choice((0, 1, 2, 3, 4, 6, 8, 16))
    return data[:16] + bytes(head) + struct.pack(">I", zlib.crc32(b"IHDR" + bytes(head))) + data[33:]


def _tiff_structure(data: bytes, random: Random) -> bytes:
    """Another width, height or other number in the first directory; ours are written with the low byte first."""
    if len(data) < 10:
        return data
    (start,) = struct.unpack_from("<I", data, 4)
    if start + 2 > len(data):
        return data
    (count,) = struct.unpack_from("<H", data, start)
    place = start + 2 + 12 * random.randrange(max(min(count, 40), 1)) + 8
    new = struct.pack("<I", random.choice((0, 1, 255, 9000, 20_000, 65_535, 2**31, 2**32 - 1)))
    return data[:place] + new + data[place + 4 :]


_STRUCTURES: dict[str, tuple[Mutation, ...]] = {
    "yaml": (_yaml_structure,),
    "xml": (_xml_structure,),
    "json": (_json_structure,),
    "csv": (_csv_structure,),
    "jpeg": (_jpeg_structure,),
    "png": (_png_structure,),
    "tiff": (_tiff_structure,),
}
