"""All SQL of Cuemill: the tables, and every statement that reads or writes them.

A function that takes `db` opens its own transaction; one that takes `connection` runs within yours.
Transactions are short: none is open while a worker reads, decodes or predicts. Each state has one
module that writes it, and `states.py` draws every state and every move.
"""
