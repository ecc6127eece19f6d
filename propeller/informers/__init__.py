"""Caches that follow an API server: reflector, store with indexes, shared informer, and one of some shards."""

from propeller.informers._cache import Salvage
from propeller.informers._informer import Informer
from propeller.informers._options import InformerOptions
from propeller.informers._selection import Selection
from propeller.informers._sharded import AnyInformer, ShardedInformer
from propeller.informers._store import Change, IndexFunction, Store, as_number, key_of, metadata_of, went_back
from propeller.informers._subscribers import Subscriber
from propeller.informers._uid_shard import UidShard
from propeller.informers._when_served import InformerWhenServed

__all__ = [
    "AnyInformer",
    "Change",
    "IndexFunction",
    "Informer",
    "InformerOptions",
    "InformerWhenServed",
    "Salvage",
    "Selection",
    "ShardedInformer",
    "Store",
    "Subscriber",
    "UidShard",
    "as_number",
    "key_of",
    "metadata_of",
    "went_back",
]
