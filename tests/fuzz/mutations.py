"""Valid inputs with faults: random bytes would be refused at once."""

from __future__ import annotations

import random

__all__ = ["mutated"]

CARD, BLOCK = 80, 2880
#: Keywords that decide how a file is read, or how a frame is classified.
KEYWORDS = """
SIMPLE BITPIX NAXIS NAXIS1 NAXIS2 NAXIS3 EXTEND XTENSION PCOUNT GCOUNT BSCALE BZERO BLANK EXTNAME TFIELDS TFORM1
TTYPE1 THEAP ZIMAGE ZCMPTYPE ZBITPIX ZNAXIS ZNAXIS1 ZNAXIS2 ZTILE1 ZTILE2 ZNAME1 ZVAL1 ZQUANTIZ ZSCALE ZZERO ZBLANK
ZSIMPLE INSTRUME EXPTIME MJD-OBS DATE-OBS ARCFILE DATASUM CHECKSUM OBJECT CONTINUE COMMENT HIERARCH END GROUPS
""".split()
ESO = """
DPR~CATG DPR~TYPE DPR~TECH SEQ~ARM DET~DIT DET~NDIT DET~BINX DET~READ~CURID DET~OUT1~CONAD DET~OUT1~GAIN PRO~CATG
DET3~CAM~NAME INS~TEMP217~VAL DET~CHIP~ID INS~X OBS~NAME
""".split()
VALUES = """
0 1 -1 2 3 8 16 32 64 -32 -64 48 40 41 999 2147483648 -2147483649 18446744073709551616 1E400 -1E308 1E-320 1.5D300 NaN
-0.0 0x10 1_000 T F 'T' 'NaN' 'IMAGE' 'BINTABLE' 'TABLE' 'RICE_1' 'GZIP_1' 'GZIP_2' 'HCOMPRESS_1' 'PLIO_1' 'NOCOMPRESS'
'SUBTRACTIVE_DITHER_1' 'NO_DITHER' 'DARK' 'BIAS' 'DARK,LAMP' 'SOXS' 'NIR' 'VIS' 'MASTER_BIAS_VIS'
'9999-12-31T23:59:59.9' '0001-01-01' '2026-03-01T10:00:00+14:00' 'CALIB' (1.0,2.0) 'x&' '' '1PB(99)' '1QB(99)' '1PE'
'99999999999X' ' ''''' 1 2
""".split()
TOKENS = [token.encode() for token in KEYWORDS + VALUES] + [
    b"\x1b[31m", b"\x00", b"\xff", "\u202e".encode(), b"!!python/object/apply:os.system [c4n4ry]",
    b"&a ", b"*a", b"<<: ", b"{", b"[", b"? ", b": ", b"- ", b"\n", b"\r", b"\t", b"'", b'"', b"#", b"$HOME", b"${",
    b"~root", b"../", b"%YAML 9.9", b"1:1:1", b"2026-01-01", b"0o7", b".nan", b".inf", b"1e999", b"null", b"=",
    b"\x1f\x8b", b"\x1f\x9d\x90", b"--- ",
]  # fmt: skip


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return a copy with one to four faults."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        data = rng.choice(_KINDS)(data, rng)
    return data


def _flip(data: bytes, rng: random.Random) -> bytes:
    copy = bytearray(data)
    for _ in range(rng.choice((1, 1, 8)) if copy else 0):
        copy[rng.randrange(len(copy))] ^= 1 << rng.randrange(8)
    return bytes(copy)


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _repeat(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    piece = data[start : start + rng.choice((1, 3, CARD, BLOCK))]
    return data[:start] + piece * rng.choice((2, 2, 9, 300)) + data[start:]


def _remove(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.choice((1, 4, CARD, BLOCK)) :]


def _token(data: bytes, rng: random.Random) -> bytes:
    start, token = rng.randrange(len(data) + 1), rng.choice(TOKENS)
    return data[:start] + token + data[start + (len(token) if rng.random() < 0.5 else 0) :]


def _card(data: bytes, rng: random.Random) -> bytes:
    """Change a card of a header: its value, or the whole of it; elsewhere this is noise."""
    end = data.find(b"END     ")
    if end < CARD:
        return _token(data, rng)
    skew = end % CARD
    start = skew + CARD * rng.randrange(end // CARD)
    if rng.random() < 0.5:
        keyword = data[start : start + 8].decode("latin-1")
        known = keyword.strip() in KEYWORDS
        keyword = keyword if known else f"{rng.choice(KEYWORDS):8}"
    else:
        keyword = f"HIERARCH ESO {rng.choice(ESO).replace('~', ' ')}"
    named = [
        at
        for at in range(skew, end, CARD)
        if data[at : at + len(keyword) + 1].decode("latin-1").strip(" =") == keyword.strip()
    ]
    start = rng.choice(named) if named and rng.random() < 0.8 else start
    card = f"{keyword}= {rng.choice(VALUES):>{rng.choice((1, 20))}}"
    return data[:start] + f"{card:{CARD}.{CARD}}".encode() + data[start + CARD :]


_KINDS = (_flip, _flip, _cut, _repeat, _remove, _token, _card, _card, _card, _card)
