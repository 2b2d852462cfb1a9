"""Snapshots of the server: ``whole`` saves and restores all that it has stored, ``schedule`` does so by itself and puts
them to a ``target``, a folder or a bucket (``s3``, with requests that ``signing`` signs), ``opened`` reads in one with
the keys of people."""
