"""
Serializers that a site may name as its `SESSION_SERIALIZER`.
"""

from __future__ import annotations

import json
import pickle
from typing import Any

from django.contrib.sessions.serializers import JSONSerializer


class PickleSerializer:
    def dumps(self, obj: Any) -> bytes:
        return pickle.dumps(obj)

    def loads(self, data: bytes) -> Any:
        return pickle.loads(data)


class TidySerializer(JSONSerializer):
    """
    Writes what Django's does, in the order of the alphabet.
    """

    def dumps(self, obj: Any) -> bytes:
        return json.dumps(obj, sort_keys=True).encode()


class CapitalSerializer(JSONSerializer):
    """
    Writes keys in capitals.
    """

    def dumps(self, obj: Any) -> bytes:
        return super().dumps({key.upper(): value for key, value in obj.items()})


class ForgettingSerializer(JSONSerializer):
    """
    Leaves out a key that is no longer in use.
    """

    def loads(self, data: bytes) -> Any:
        return {key: value for key, value in super().loads(data).items() if key != "old"}
