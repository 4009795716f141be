"""Backbones for theta compared before any adaptation, by leave-markets-out results on source markets."""
