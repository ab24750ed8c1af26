"""Judgement, pure: (Policy, Artifact, Facts, Actor, now) -> Verdict. No I/O, no clock."""
