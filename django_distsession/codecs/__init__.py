"""
Payload codecs: how a state becomes bytes, and how those bytes are kept from being altered.

A payload is bound to a context (codec, storage id and version), so that a record copied to another
session, or a reply that belongs to another request, never decodes.
"""

from __future__ import annotations

from .base import BadPayload, Codec
from .encrypted import EncryptedCodec
from .plain import JSONCodec
from .signed import SignedCodec

__all__ = ["BadPayload", "Codec", "EncryptedCodec", "JSONCodec", "SignedCodec"]
