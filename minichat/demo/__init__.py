"""The small trained model that ships with minichat."""
