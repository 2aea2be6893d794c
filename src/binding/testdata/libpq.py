"""Reads connection strings, one JSON text a line, and prints what libpq makes of each."""
import ctypes
import json
import sys


class Option(ctypes.Structure):
    """PQconninfoOption (libpq-fe.h)."""

    _fields_ = [
        ("keyword", ctypes.c_char_p), ("envvar", ctypes.c_char_p), ("compiled", ctypes.c_char_p),
        ("val", ctypes.c_char_p), ("label", ctypes.c_char_p), ("dispchar", ctypes.c_char_p),
        ("dispsize", ctypes.c_int),
    ]


libpq = ctypes.CDLL("libpq.so.5")
libpq.PQconninfoParse.restype = ctypes.POINTER(Option)
libpq.PQconninfoParse.argtypes = [ctypes.c_char_p, ctypes.POINTER(ctypes.c_char_p)]
libpq.PQconninfoFree.argtypes = [ctypes.POINTER(Option)]

for line in sys.stdin:
    options = libpq.PQconninfoParse(json.loads(line).encode(), None)
    answer, i = None, 0
    if options:
        answer = {}
        while options[i].keyword:
            if options[i].val is not None:
                answer[options[i].keyword.decode()] = options[i].val.decode(errors="replace")
            i += 1
        libpq.PQconninfoFree(options)
    print(json.dumps(answer))
