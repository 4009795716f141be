"""HTTP only: parse, ONE service call, answer. One router per noun."""
