"""A provider that LiteLLM's SDK knows in, an endpoint of ours out: a small process that speaks NIM on one side and calls LiteLLM on the other.

The forge starts it for versions whose source is `litellm:<provider/model>`. It keeps nothing, and no plane imports it.
"""
