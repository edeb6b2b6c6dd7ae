"""Compiled passes over rows. They know arrays and offsets, and nothing above them.

Each pass walks a range of rows once, in blocks that stay in cache, and adds what it finds to small
sums; the caller decides which rows, on which thread, and how sums merge.
"""
