"""
How a session dict becomes bytes, before anybody protects them.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

from django.contrib.sessions.serializers import JSONSerializer

# Kept, since `json.dumps` makes a new encoder for each call that sets separators.
to_json = json.JSONEncoder(separators=(",", ":")).encode
from_json = json.JSONDecoder().decode


class Serializer(Protocol):
    """
    What Django's `SESSION_SERIALIZER` names.
    """

    def dumps(self, obj: Any) -> bytes: ...

    def loads(self, data: bytes) -> Any: ...


class QuickJSONSerializer(JSONSerializer):
    """
    Django's, with an encoder and a decoder that are made once.
    """

    def dumps(self, obj: Any) -> bytes:
        """
        As Django's.
        """
        return to_json(obj).encode("latin-1")

    def loads(self, data: bytes) -> Any:
        """
        As Django's.
        """
        return from_json(data.decode("latin-1"))
