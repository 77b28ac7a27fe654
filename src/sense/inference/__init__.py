"""Answer questions with a trained model."""
