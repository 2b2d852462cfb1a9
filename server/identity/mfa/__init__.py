"""Login MFA: ``identity/mfa``, and what ``sys/mfa/validate`` does.

``methods.py`` and ``enforcements.py`` are what is configured, ``secrets.py`` the keys of TOTP users; ``records.py``
and ``store.py`` keep it all. ``enforced.py`` knows which logins need a second factor. ``login.py``, imported when one
does, stands between it and its token; it asks ``factors.py`` whether a second factor is right, and that ``duo.py``,
``okta.py`` or ``pingid.py``, which reach others by ``remote.py``.
"""
