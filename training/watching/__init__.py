"""What a training shows of itself on the way: losses, gradients, where its time goes, and when it should stop."""
