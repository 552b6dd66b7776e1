"""What a training job is made of, from its recipe to what it leaves behind."""
