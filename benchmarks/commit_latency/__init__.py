"""The laboratory of commit latency: T_commit = L_network + T_disk_write + T_consensus, measured and predicted.

``shape`` says what is measured, ``links`` puts delay, jitter and loss between nodes (``namespaces`` by the kernel,
``relay`` without), ``engines`` and ``servers`` are the clusters under test, ``prediction`` adds up what its parts
cost, ``records`` is the CSV, ``report`` and ``plots`` what a reader sees of it. ``python -m
caveau.benchmarks.commit_latency`` runs it all; README.md beside this file says how it measures.
"""
