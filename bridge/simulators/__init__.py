"""Simulated vendor clouds with state, faults and an effect ledger: mounted by the tests, served by the demo.

Each is written from the vendor's page alone and imports nothing of `bridge.vendors`: only so can it disagree.
"""
