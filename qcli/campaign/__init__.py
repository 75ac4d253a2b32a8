"""Many runs as one task: what they are, what they cost, who runs them, what they come to."""
