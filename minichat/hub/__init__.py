"""Hugging Face's hub, or a mirror of it: addresses, look-up and transfers.

    environment   which hub, with which token, or none at all (HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE)
    address       what a person types, or copies from a browser, to a repo, revision and file
    listing       what a hub says of a repo, checked before anything is believed
    asking        a request through huggingface_hub: ended in time, its errors as ours
    lookup        one repo's files, and a search
    refusals      what a hub's refusal means to a person
    patience      how long to wait, and how often to try again
    route         the way to a host: proxies, TLS
    watch         a socket that notices a stall
    connection    connections that are kept alive and can be ended from another thread
    body          the bytes of an answer
    source        one file of a repo: where its bytes are, and whether an answer is what was asked for
    stream        several ranges in flight, handed over in order, in bounded memory
    part          what is on the disk of a large file that is being fetched
    transfer      Hub: read, fetch, stream, download
    weights       a checkpoint's weights, read over the net while they are converted

Only this room opens sockets or imports huggingface_hub. What comes from a hub is hostile until it is checked, and the
token goes to the hub's own host only, never into a message.
"""
