"""The embedded critic: a page's picture and text blocks against those of its reference, with no neural model."""
