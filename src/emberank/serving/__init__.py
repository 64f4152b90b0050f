"""The HTTP door that runtime, gateway and forge share: how a request comes in and an answer goes out. Knows no route."""
