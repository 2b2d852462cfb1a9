"""Snapshots of the server: ``whole`` saves and restores all of it, ``opened`` reads in one with the keys of people,
``schedule`` takes them by itself and puts them to a ``target``, a folder or a bucket (``s3``)."""
