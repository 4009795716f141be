"""What the commands of ``thetaprime`` do; ``app.cli`` says how they are called."""
