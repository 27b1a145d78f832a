"""JSON Schema: what a tool's arguments must be, and what an answer is constrained to.

`check` says what is wrong with a value or a schema, `gbnf` makes a grammar of a schema for the engine, `files` reads
one. Everything here takes schemas for hostile: bounded in size, depth and time, and never a look at the network.
"""
