"""The configuration of a model that was trained with Choir, for transformers."""

from transformers import PretrainedConfig


class ChoirConfig(PretrainedConfig):
    """All settings are attributes, with the names that config.json has; modeling_choir.py explains them."""

    model_type = "choir"
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(self, **settings):
        settings.setdefault("tie_word_embeddings", False)
        super().__init__(**settings)
