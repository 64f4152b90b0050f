"""What is said between the planes: frozen values and errors. Imports nothing of ours."""
