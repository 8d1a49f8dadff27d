"""What a column's name means: the names that people print, as data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from hpcscale.audit.markup import plain

WORDS = frozenset({"model", "device", "precision", "activation_checkpointing", "layout"})
# What was measured or follows from it; the other quantities configure a run.
MEASURED = (
    "tokens_per_second_per_device", "tokens_per_second", "tokens_per_second_per_node", "step_seconds",
    "samples_per_second", "samples_per_second_per_device", "steps_per_second", "tflops_per_device",
    "aggregate_pflops", "mfu", "hfu", "speedup", "efficiency", "node_hours", "device_hours", "training_days",
)  # fmt: skip
FLOPS = ("tflops_per_device", "aggregate_pflops", "mfu", "hfu")

_S = r"(?:s|secs?|seconds?|秒)"
_DEVICE = r"(?:gpus?|devices?|gcds?|chips?|accelerators?|ranks?|cards?|npus?|tpus?|workers?|xpus?|tiles?)"
_TOKENS = r"(?:k|m)? ?(?:tokens?|toks?|t|words?|w)"
_SAMPLES = r"(?:samples?|sequences?|seqs?|s|sentences?|examples?)"
_STEP = r"(?:it|iters?|iterations?|steps?|batch|batches|itr|反復|イテレーション|ステップ)"
_TIME = rf"(?:{_S}|ms|msecs?|milliseconds?|us|min|minutes?|ミリ秒)"
_FLOPS = r"(?:(?:[mgtpe]|mega|giga|tera|peta|exa) ?flops?(?:/s(?:ec(?:ond)?)?)?|(?:[mgtpe]|tera|peta) ?f(?:/s)?)"
_NUMBER_OF = r"(?:(?:num|number of|no\.?|n|total|#|numbers of)\s*)?"
_SIZE = r"(?: ?(?:size|degree|ways?|width|dim|dimension|parallel(?:ism)?|groups?|ranks?|world size))*"

# (pattern of the whole name in lower case, what it may mean: the most usual first, confidence). The first that matches
# counts. Names come without markup, `per` as `/`, underscores and camel case as blanks; a unit in brackets stays.
NAMES: tuple[tuple[str, tuple[str, ...], float], ...] = (
    # words about figures, which are no figures
    (r".*\b(?:convention|formula|method|definition|source|notes?|remarks?|comments?)\b.*|備考|注記?", (), 1.0),
    # throughput
    (rf".*\b{_TOKENS}/{_S}/node.*|.*\b{_TOKENS}/node/{_S}.*", ("tokens_per_second_per_node",), 1.0),
    (rf".*\b{_TOKENS}/{_S}/{_DEVICE}.*|.*\b{_TOKENS}/{_DEVICE}/{_S}.*|tgs|.*\(tgs\)", ("tokens_per_second_per_device",), 1.0),
    (rf".*\b{_SAMPLES}/{_S}/{_DEVICE}.*|.*\b{_SAMPLES}/{_DEVICE}/{_S}.*", ("samples_per_second_per_device",), 1.0),
    (rf".*\b(?:tps|wps)(?: ?\(?/ ?| per |\()(?:{_DEVICE})\)?.*", ("tokens_per_second_per_device",), 1.0),
    (rf"(?:.*\b)?(?:total|global|aggregate|overall|cluster|system).*\b{_TOKENS}/{_S}.*", ("tokens_per_second",), 1.0),
    (rf".*\b(?:k|m)?(?:tokens?|toks?|words?|tok)/{_S}\b.*|.*\((?:k|m)? ?t/s\).*|.*トークン/(?:s|秒).*|tokens/s", ("tokens_per_second", "tokens_per_second_per_device"), 0.8),
    (r"(?:k ?)?(?:tps|wps)(?: .*|\(.*)?", ("tokens_per_second_per_device", "tokens_per_second"), 0.7),
    (rf".*\b{_SAMPLES}/{_S}\b.*|.*サンプル/(?:s|秒).*", ("samples_per_second", "samples_per_second_per_device"), 0.9),
    (rf".*\b{_STEP}/{_S}\b.*", ("steps_per_second",), 1.0),
    (rf".*\b{_TIME} ?/ ?(?:training |train |global )?{_STEP}.*|{_TIME}/{_STEP}", ("step_seconds",), 1.0),
    (rf".*\b(?:{_STEP}|batch|elapsed|iter) ?(?:time|latency|duration|seconds|sec|ms|s)\b.*", ("step_seconds",), 1.0),
    (rf".*\b(?:time|latency|duration|elapsed time) ?(?:/|of a |of one |each )?{_STEP}\b.*", ("step_seconds",), 1.0),
    (r".*(?:反復時間|1反復.*時間|秒/(?:it|反復|ステップ)|ステップ時間|イテレーション時間|実行時間).*", ("step_seconds",), 0.9),
    # work
    (r".*\bmfu\b.*|.*model flops? utili[sz]ation.*", ("mfu",), 1.0),
    (r".*\bhfu\b.*|.*hardware flops? utili[sz]ation.*", ("hfu",), 1.0),
    (r".*(?:percent(?:age)?|%|fraction|ratio) ?(?:of )?(?:the )?(?:theoretical |hw |hardware )?peak.*|.*\bof peak\b.*|.*peak (?:fraction|efficiency|ratio|percentage).*|.*ピーク(?:性能)?比.*", ("mfu",), 0.9),
    (r"(?:theoretical |device |gpu |hw )?peak (?:t ?flops?|tera ?flops?|performance).*", ("peak_tflops",), 0.9),
    (rf".*(?:hardware|hw)\b.*\b{_FLOPS}.*", ("hardware_tflops_per_device", "aggregate_pflops"), 0.9),
    (rf".*\b{_FLOPS} ?(?:/|\(/)(?:{_DEVICE}|node).*|.*\b{_FLOPS}/{_S}/.*|.*/(?:{_DEVICE}|node)\b.*{_FLOPS}.*", ("tflops_per_device",), 1.0),
    (rf".*(?:aggr|total|overall|system|cluster|global|全体|合計).*\b{_FLOPS}.*", ("aggregate_pflops",), 1.0),
    (r".*\b(?:p|peta|e|exa) ?flops?\b.*|pf", ("aggregate_pflops", "tflops_per_device"), 0.9),
    (rf".*\b{_FLOPS}\b.*", ("tflops_per_device", "aggregate_pflops"), 0.9),
    # scaling
    (r"(?:relative )?speed ?-?ups?.*|.*\bspeedup\b.*|scaling factor|加速率.*|速度向上率.*", ("speedup",), 1.0),
    (r".*(?:scaling|parallel|weak|strong|relative|node) ?(?:scaling )?(?:efficiency|eff\b).*|efficiency.*|eff\.?(?: ?\(?%\)?)?|.*並列化?効率.*", ("efficiency",), 0.9),
    (r".*\bnode[ -]?(?:hours?|h)\b.*", ("node_hours",), 0.8),
    (rf".*\b{_DEVICE}[ -]?(?:hours?|h)\b.*", ("device_hours",), 0.8),
    (r".*(?:training|train)\b.*\bdays?\b.*|days? (?:to train|for|/).*", ("training_days",), 0.9),
    # batch
    (r".*(?:global|train|total|effective) ?(?:mini ?)?batch(?: ?size)?.*(?:\(.*(?:tokens?|toks?|\bt)\)|\btokens\b).*|batch ?(?:size)? ?\(?(?:in )?(?:m|k)? ?tokens?\)?|tokens/(?:step|batch|iter(?:ation)?|it)(?: .*)?|(?:gbs|batch size) ?\(?(?:m|k)? ?(?:t|tokens?|toks?)\)?", ("tokens_per_step",), 1.0),
    (r"gbs?|gbsz|g?lobal ?b(?:atch)?(?: ?(?:size|sz|bs))?(?: ?\((?:samples?|sequences?|seqs?)\))?|global bsz|(?:train|total|effective|overall) (?:train )?(?:batch|bs)(?: ?size)?|グローバルバッチ(?:サイズ)?|全体バッチサイズ", ("global_batch_size",), 1.0),
    (rf"mbs|mbsz|ubs|micro ?-?(?:b(?:atch)?)(?: ?(?:size|sz|bs))?|microbs|(?:local|device|per ?device|{_DEVICE}) (?:mini |train |micro )?(?:batch|bs)(?: ?size)?|(?:micro |mini |local )?(?:batch|bs)(?: ?size)? ?(?:/|\(/)?{_DEVICE}\)?|lbs|local bs|マイクロバッチ(?:サイズ)?", ("micro_batch_size",), 1.0),
    (rf"(?:grad(?:ient)?s? ?)?acc(?:um(?:ulat(?:e|ion))?)?(?: ?(?:steps?|grad(?:ient)?s?|batches))?|gas|ga|(?:batch|gradient) ?accumulation.*|{_NUMBER_OF}micro ?-?batches.*|micro ?batches|grad acc.*|勾配累積.*", ("accumulation",), 1.0),
    (r"(?:mini ?)?batch(?:es)? ?(?:size|sz)?|bs|bsz|バッチサイズ|b", ("global_batch_size", "micro_batch_size"), 0.6),
    (r"(?:max ?)?(?:seq(?:uence)?|context|ctx) ?\.?(?:len(?:gth)?|size|window)?\.?(?: ?\((?:t|tokens?|k)\))?|s|seq|系列長|シーケンス長|block size|max seq len.*|context(?: window)?", ("sequence_length",), 1.0),
    # layout
    (rf"(?:{_NUMBER_OF})?(?:data(?: ?parallel(?:ism)?)?|dp)(?:{_SIZE}|)|d|dp ?\(?.*\)?|(?:num )?(?:data parallel )?replicas?|データ並列.*", ("dp",), 1.0),
    (rf"(?:tensor|model)(?: ?model)? ?-?parallel(?:ism)?{_SIZE}.*|(?:tp|mp|tmp)(?:{_SIZE}|)(?: ?\(.*\))?|tensor(?: mp)?{_SIZE}|テンソル並列.*|t", ("tp",), 1.0),
    (rf"pipe(?:line)?(?: ?model)? ?-?parallel(?:ism)?{_SIZE}.*|(?:pp|pmp)(?:{_SIZE}|)(?: ?\(.*\))?|pipeline(?: mp)?{_SIZE}|{_NUMBER_OF}(?:pipeline )?stages|パイプライン並列.*|p", ("pp",), 1.0),
    (rf"context ?-?parallel(?:ism)?{_SIZE}.*|cp{_SIZE}", ("cp",), 1.0),
    (r"(?:parallel(?:ism)?|layout|parallel (?:config|strategy|layout)|(?:3d|4d|2d) parallel(?:ism)?|dp ?[/x,] ?tp.*|tp ?[/x,] ?pp.*|mesh|並列化?)", ("layout",), 0.8),
    (rf"{_DEVICE}(?: ?/ ?|s/)node|ranks/node|gpn|ノードあたり.*", ("devices_per_node",), 1.0),
    (rf"{_NUMBER_OF}nodes?(?: ?(?:count|#|number))?|node ?count|nnodes|ノード(?:数)?|#nodes?", ("nodes",), 1.0),
    (rf"(?:num|number of|no\.?|total|#) ?(?:of )?{_DEVICE}(?: ?(?:count|used))?|n?gpus|{_DEVICE} (?:count|#|num|数)|devices|chips|gcds|accelerators|cards|ranks|world ?size|gpu ?数|ngpus?|processes|workers|tpus|npus", ("devices",), 1.0),
    (r"gpus?|device|accelerator|hardware|hw|gpu (?:type|model|name)|chip|device (?:type|name)|processor|system|cluster|machine|platform|計算機|gpu_type", ("device", "devices"), 0.8),
    # shape
    (rf"(?:{_NUMBER_OF})?(?:transformer )?layers?|l|depth|n ?layers?|層数|レイヤ(?:ー)?数", ("layers",), 1.0),
    (r"model (?:size|params?|parameters)(?: ?\(.*\))?|size(?: ?\(.*\))?", ("model", "parameters"), 0.9),
    (r"(?:hidden|model|embed(?:ding)?|emb)(?: ?(?:size|dim(?:ension)?|width))+|hidden|d ?model|h(?:idden)? ?dim|h|width|nhidden|dim|隠れ(?:層)?(?:次元|サイズ)", ("hidden",), 1.0),
    (rf"(?:{_NUMBER_OF})?(?:attention |attn |query |q )?heads?|n ?heads?|a|nheads|ヘッド数", ("heads",), 1.0),
    (rf"(?:{_NUMBER_OF})?(?:kv|key ?/?value|query) ?(?:heads?|groups?)|n ?kv ?heads?|gqa groups", ("kv_heads",), 1.0),
    (r"(?:ffn|feed ?forward|intermediate|mlp)(?: ?(?:hidden|size|dim(?:ension)?))*|d ?ff", ("ffn",), 1.0),
    (r"(?:padded )?vocab(?:ulary)?(?: ?size)?|v|語彙.*", ("vocab",), 1.0),
    (rf"(?:{_NUMBER_OF})?param(?:eter)?s?(?: ?count)?(?: ?\((?:in )?(?:b|m|t|billions?|millions?|trillions?|10\^?9|10\^?6)\))?|parameters?.*|n ?params?(?: ?\(.*\))?|パラメータ数?.*|model parameters.*", ("parameters",), 1.0),
    # words
    (r"model(?: ?(?:name|type|config))?|llm|network|architecture|モデル", ("model", "parameters"), 0.9),
    (r"model scale(?: ?\(.*\))?|モデルサイズ.*", ("model", "parameters"), 0.8),
    (r"(?:activation |gradient |act\.? |full )?(?:re ?-?comput(?:e|ation|ing)|checkpoint(?:ing|s)?|ckpt|ac|remat)(?: ?(?:mode|type|policy))?|ac|ac ?mode|recompute.*|activation (?:checkpoint|recomput|ckpt).*|再計算.*|gradient checkpointing.*|remat.*", ("activation_checkpointing",), 1.0),
    (r"precision|d ?type|data ?type|(?:train(?:ing)? )?precision|精度", ("precision",), 1.0),
    (r"(?:total |training )?tokens(?: ?\(.*\))?", ("total_tokens",), 0.6),
    (r".*throughput.*|スループット.*|性能", ("tokens_per_second", "tokens_per_second_per_device", "samples_per_second", "tflops_per_device"), 0.4),
    (rf"{_TIME}|(?:avg|average|mean|median|wall(?: ?clock)?)? ?(?:time|runtime|latency)(?: ?\(.*\)| ?\[.*\]|, .*)?|t|時間.*", ("step_seconds",), 0.5),
    (r".*utili[sz]ation.*", ("mfu",), 0.5),
)  # fmt: skip
_COMPILED = tuple((re.compile(pattern), meanings, confidence) for pattern, meanings, confidence in NAMES)

_TIME_UNITS = {
    "ms": 1e-3, "msec": 1e-3, "msecs": 1e-3, "millisecond": 1e-3, "milliseconds": 1e-3, "ミリ秒": 1e-3, "us": 1e-6, "µs": 1e-6,
    "s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0, "秒": 1.0, "min": 60.0, "mins": 60.0, "minutes": 60.0,
    "minute": 60.0, "分": 60.0, "h": 3600.0, "hr": 3600.0, "hour": 3600.0, "hours": 3600.0, "時間": 3600.0,
}  # fmt: skip
_PREFIXES = {
    "k": 1e3, "kilo": 1e3, "thousand": 1e3, "thousands": 1e3, "m": 1e6, "mega": 1e6, "mio": 1e6, "million": 1e6, "millions": 1e6,
    "b": 1e9, "g": 1e9, "giga": 1e9, "bn": 1e9, "billion": 1e9, "billions": 1e9, "t": 1e12, "tera": 1e12, "trillion": 1e12,
    "trillions": 1e12, "p": 1e15, "peta": 1e15, "e": 1e18, "exa": 1e18, "億": 1e8,
}  # fmt: skip
_FLOP_UNIT = re.compile(r"\b(m|g|t|p|e|mega|giga|tera|peta|exa) ?f(?:lops?)?\b(?:/s)?", re.IGNORECASE)
_COUNTS = frozenset({
    "tokens_per_second", "tokens_per_second_per_device", "tokens_per_second_per_node", "tokens_per_step", "parameters",
    "sequence_length", "global_batch_size", "vocab", "total_tokens", "samples_per_second",
})  # fmt: skip
_SHARES = frozenset({"mfu", "hfu", "efficiency"})


@dataclass(frozen=True)
class Name:
    """A column's name as printed, what it may mean (the most likely first), how sure that is, and its unit as a factor."""

    printed: str
    meanings: tuple[str, ...]
    confidence: float
    normal: str


def normal(printed: str) -> str:
    """A name in the form that NAMES matches."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", plain(printed)).replace("#", " num ")
    text = re.sub(r"[_\-]+", " ", text.lower())
    text = re.sub(
        r"\b(?:published|printed|measured|achieved|estimated|est\.?|avg\.?|average|mean|median|observed|max|approx\.?)\b",
        " ",
        text,
    )
    text = re.sub(r"\s*(?:\bper\b|/|あたり)\s*", "/", text)
    text = text.replace("[", "(").replace("]", ")").replace("{", "(").replace("}", ")")
    return " ".join(re.sub(r"[*:↑↓]+|\.(?=\s|$)", " ", text).split()).strip(" ,;")


@lru_cache(maxsize=4096)
def name(printed: str) -> Name:
    text = normal(printed)
    for pattern, meanings, confidence in _COMPILED:
        if text and pattern.fullmatch(text):
            return Name(printed, meanings, confidence, text)
    return Name(printed, (), 0.0, text)


def scale(quantity: str, title: str, unit: str) -> float:
    """What one of a cell's number is, in the quantity's own unit: seconds, TFLOP/s of a device, PFLOP/s, shares of one.

    ``title`` is the column's normal name, ``unit`` what follows the number in the cell; the cell's unit wins.
    """
    unit = unit.lower()
    if quantity == "step_seconds":
        return _TIME_UNITS.get(unit.partition("/")[0]) or _named(title, _TIME_UNITS) or 1.0
    if quantity in ("tflops_per_device", "aggregate_pflops", "hardware_tflops_per_device", "peak_tflops"):
        own = 1e15 if quantity == "aggregate_pflops" else 1e12
        found = _FLOP_UNIT.search(unit) or _FLOP_UNIT.search(title)
        return _PREFIXES[found[1].lower()] / own if found else 1e12 / own
    if quantity in _SHARES:
        return 0.01 if "%" in unit or "%" in title or "percent" in title else 1.0
    if quantity in _COUNTS:
        if unit in _PREFIXES:
            return _PREFIXES[unit]
        if unit[:1] in ("k", "m", "b") and re.match(r"^[kmb] ?(?:tokens?|toks?|t\b|params?)", unit):
            return _PREFIXES[unit[0]]
        return _counted(title)
    if quantity == "training_days":
        return 1.0
    return 1.0


def _named(title: str, units: dict[str, float]) -> float | None:
    """The unit in a name: in brackets or behind a comma first, then any word of it."""
    for part in (*re.findall(r"\(([^)]*)\)", title), *title.split(",")[1:]):
        if part.strip().partition("/")[0] in units:
            return units[part.strip().partition("/")[0]]
    words = [word for word in re.split(r"[\s/()]+", title) if word in units]
    return units[words[0]] if words else None


def _counted(title: str) -> float:
    for part in re.findall(r"\((?:in )?([^)]*)\)", title):
        word = part.strip()
        if word in _PREFIXES and word not in ("t", "p", "e"):
            return _PREFIXES[word]
        match = re.match(
            r"^(k|m|b|thousands?|millions?|billions?|10\^?[369]) ?(?:of )?(?:tokens?|toks?|params?|parameters|t)?(?:/|$)",
            word,
        )
        if match:
            return {"10^9": 1e9, "10^6": 1e6, "109": 1e9, "106": 1e6}.get(match[1]) or _PREFIXES.get(match[1], 1.0)
    if re.match(r"^(k|m) ?(?:tokens?|toks?|tps|wps)\b", title):
        return _PREFIXES[title[0]]
    return 1.0
