"""Learned starts: networks that fits begin at, in files of their own, and how to find the one that a file needs.

Files that end in ``.start.coinr`` in this folder are shipped with the package.
"""
