"""The data plane: one process, one or a few models, NVIDIA's NIM API in front. Start reading at server.py."""
