"""Opening and closing the server, and the keys that people hold.

``SealCore`` (``unseal``) owns the barrier; ``init``, ``rekey``, ``generate_root`` and ``rotation``
work on it. Parameters and answers are those of the API's JSON; ``server/sys`` gives them routes.
"""

from .generate_root import OTP_LENGTH, GenerateRoot, decode_token, token_shape
from .init import init_status, initialize
from .rekey import Rekey, rotate_status
from .rotation import configure_rotation, key_status, maintain, rotate, rotation_config
from .unseal import Hooks, SealCore, WrongShares

__all__ = [
    "OTP_LENGTH",
    "GenerateRoot",
    "Hooks",
    "Rekey",
    "SealCore",
    "WrongShares",
    "configure_rotation",
    "decode_token",
    "init_status",
    "initialize",
    "key_status",
    "maintain",
    "rotate",
    "rotate_status",
    "rotation_config",
    "token_shape",
]
