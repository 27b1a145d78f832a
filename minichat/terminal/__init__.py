"""Everything that a person sees: the prompt, streamed answers, progress, tables and errors.

Only this room imports rich and prompt_toolkit, and it imports them where they are first needed, so that a command that
shows nothing of the kind does not pay for them. Whatever comes from a model, a file name or metadata goes through
`sanitize` before it is written.
"""
