"""Whether a model's file still gives the token ids that Mistral's own tokenizer gives.

`check_tokens` has an engine read the file's vocabulary and tokenize strings and conversations with it. Of a known
vocabulary their ids are recorded ("golden"). Of any other it is seen that ids decode to the text that they were made
of, and that no content becomes a control token ("round trip"). The vocabularies of other families, which minichat
cannot read, are not checked.
"""

from minichat.golden.replay import TokenCheck, check_tokens

__all__ = ["TokenCheck", "check_tokens"]
