"""Networks: the member, poolings, encoders, losses, augmentation, features, and the tumour network."""
