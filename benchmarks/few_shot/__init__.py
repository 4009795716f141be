"""How good are scores for markets with 10 to 200 labelled accounts? Thetaprime beside what a good team does today."""
