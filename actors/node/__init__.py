"""Node programs that test untrusted pages: their packages, the fence, and the answers to the pages' requests."""
