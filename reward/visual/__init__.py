"""The embedded critic: compares pictures, texts and boxes of a page with its reference's, without a neural model."""
