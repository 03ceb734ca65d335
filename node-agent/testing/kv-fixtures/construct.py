"""Writes the constructed fixtures of this folder with msgspec, which the engines encode their events with.

The shapes are those that the engines' sources show: arrays (vLLM until the middle of 2026, and SGLang), maps in an array
(vLLM since), maps in a map. Nothing of the agent is imported.
"""
import base64
import json
import pathlib

import msgspec

here = pathlib.Path(__file__).parent
block = 4
first, second = list(range(100, 108)), list(range(200, 208))

# Field by field as the engines have them; what an encoding leaves out at the end is left out.
STORED = ["block_hashes", "parent_block_hash", "token_ids", "block_size", "lora_id", "medium", "lora_name",
          "extra_keys", "group_idx", "kv_cache_spec_kind"]
REMOVED = ["block_hashes", "medium", "group_idx"]


def stored(names, tokens, parent=None, **more):
    return "BlockStored", {"block_hashes": names, "parent_block_hash": parent, "token_ids": tokens,
                           "block_size": block, "lora_id": None, "medium": "GPU", "lora_name": None, **more}


def removed(names, medium="GPU", **more):
    return "BlockRemoved", {"block_hashes": names, "medium": medium, **more}


cleared = ("AllBlocksCleared", {})


def cases(a, b, c, d):
    whole = stored([a, b], first)
    other = stored([c, d], second)
    return {
        "stored": [(0, [whole]), (1, [stored([c], second[:4], parent=b)])],
        "removed": [(0, [whole]), (1, [removed([b])])],
        "cleared": [(0, [whole]), (1, [cleared]), (2, [other])],
        "gap": [(0, [whole]), (3, [other])],
        "gap, replayed": [(0, [whole]), (3, [other]), ("replay", 1, [removed([b])]), ("replay", 2, [removed([a])])],
        "restart": [(5, [whole]), (0, [other])],
        "salted": [(0, [stored([a, b], first, extra_keys=[["tenant"], None])]), (1, [stored([c], second[:4], parent=b)])],
        "LoRA": [(0, [stored([a, b], first, lora_id=1, lora_name="adapter", extra_keys=[["adapter"], ["adapter"]])])],
        "image": [(0, [stored([a, b], first, extra_keys=[None, [["5f1c", 2]]])])],
        "two mediums, host left": [(0, [whole]), (1, [stored([a, b], first, medium="CPU")]), (2, [removed([a, b], "CPU")])],
        "two mediums, device left": [(0, [whole]), (1, [stored([a, b], first, medium="CPU")]), (2, [removed([b])])],
        "two mediums, back": [(0, [whole]), (1, [stored([a, b], first, medium="CPU")]), (2, [removed([b])]),
                              (3, [stored([b], first[4:], parent=a)])],
        "stored twice, removed once": [(0, [whole]), (1, [whole]), (2, [removed([a, b])])],
        "two groups, removed from one": [(0, [stored([a, b], first, extra_keys=None, group_idx=0)]),
                                         (1, [stored([a, b], first, extra_keys=None, group_idx=1)]),
                                         (2, [removed([a, b], group_idx=1)])],
        "a window's group": [(0, [stored([a, b], first, extra_keys=None, group_idx=1, kv_cache_spec_kind="sliding_window")])],
    }


def as_array(event):
    kind, fields = event
    order = STORED if kind == "BlockStored" else REMOVED
    values = [fields.get(name) for name in order]
    while values and values[-1] is None:
        values.pop()
    return [kind, *values]


def as_map(event):
    return {"type": event[0], **event[1]}


def batch(at, events, encoding):
    ts = 1761000000.5 + at
    if encoding == "arrays":
        return [ts, [as_array(event) for event in events]]
    if encoding == "maps in an array":
        return [ts, [as_map(event) for event in events], 0]
    return {"ts": ts, "events": [as_map(event) for event in events], "data_parallel_rank": 0}


def write(name, encoding, hashes, origin):
    encode = msgspec.msgpack.Encoder().encode
    written = {}
    for case, steps in cases(*hashes).items():
        messages, replay = [], []
        for step in steps:
            at, events = step[-2], step[-1]
            payload = base64.b64encode(encode(batch(at, events, encoding))).decode()
            (replay if step[0] == "replay" else messages).append({"sequence": at, "payload": payload})
        written[case] = {"messages": messages, "replay": replay}
    fixture = {"source": "constructed", "from": origin, "encoding": encoding, "cases": written}
    (here / name).write_text(json.dumps(fixture, indent=2) + "\n")


write("arrays.json", "arrays", [-5, 2**64 - 7, 12, 2**53 + 1], "vLLM's and SGLang's kv_events.py, msgspec 0.22")
write("maps.json", "maps in an array", [2241120188434616940, 10325049817787957662, 3, 4], "vLLM's kv_events.py, msgspec 0.22")
write("map-of-maps.json", "maps in a map", [bytes([n]) * 32 for n in (1, 2, 3, 4)], "vLLM's kv_events.py, msgspec 0.22")
