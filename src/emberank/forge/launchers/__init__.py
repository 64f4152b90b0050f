"""The family of launchers: each turns a launch into something that answers, and says later what has become of it."""
