"""GenerationParams: every choice made while a reply is drawn; TOML, flags and stored record at once."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class GenerationParams(BaseModel):
    """How a reply is drawn from the model's probabilities."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    temperature: float = Field(0.8, ge=0.0, le=5.0, allow_inf_nan=False)
    """How adventurous: 0 always takes the likeliest token, 1 draws as the model learned."""
    top_p: float = Field(0.95, gt=0.0, le=1.0)
    """Draw from the smallest set of tokens that holds this share of the probability."""
    top_k: int = Field(64, ge=0)
    """Draw from the K likeliest tokens only; 0 is off."""
    min_p: float = Field(0.0, ge=0.0, lt=1.0)
    """Drop tokens less likely than this share of the likeliest one; 0 is off."""
    repetition_penalty: float = Field(1.1, ge=0.1, le=10.0)
    """Make tokens that have appeared less likely; 1 is off, 1.1 keeps small models out of circles."""
    min_new_tokens: int = Field(0, ge=0, le=32768)
    """Keep the reply from ending before this many tokens."""
    max_new_tokens: int = Field(256, ge=1, le=32768)
    """Cut the reply off at this many tokens; its finish reason is then `length`."""
    seed: int = Field(0, ge=0, lt=2**63)
    """The same seed gives the same reply on the same machine, whatever is generated beside it."""

    @model_validator(mode="after")
    def _lengths_agree(self) -> GenerationParams:
        if self.min_new_tokens > self.max_new_tokens:
            raise ValueError(f"min_new_tokens ({self.min_new_tokens}) is over max_new_tokens ({self.max_new_tokens})")
        return self
