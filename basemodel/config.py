"""The shape of a GPT, in Hugging Face's words, and the presets that `ftkit pretrain` offers."""

from dataclasses import dataclass, replace

from ftkit.catalog import nearest
from ftkit.errors import FtkitError

WHOLE = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
)


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a model; field names and meanings are those of Hugging Face's config.json.

    Args:
        family: whose parts and names the model has, a key of `families.FAMILIES`.
        vocab_size: rows of the embedding.
        hidden_size: width of the residual stream.
        intermediate_size: width inside the SwiGLU.
        num_hidden_layers: blocks.
        num_attention_heads: query heads.
        num_key_value_heads: key and value heads; divides the query heads.
        head_dim: width of a head, even, because rotary positions turn pairs.
        max_position_embeddings: the context in tokens.
        rms_norm_eps: added to the mean square before its root.
        rope_theta: base of the rotary wavelengths.
        tie_word_embeddings: the output layer is the embedding.
        bos_token_id: what opens a text, if anything.
        pad_token_id: what fills shorter rows, if anything.
        eos_token_id: what ends an answer, any of these.

    Raises:
        FtkitError: for a shape that cannot be, naming field and value.
    """

    family: str = "qwen3"
    vocab_size: int = 4096
    hidden_size: int = 256
    intermediate_size: int = 384
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 64
    max_position_embeddings: int = 512
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10_000.0
    tie_word_embeddings: bool = True
    bos_token_id: int | None = None
    pad_token_id: int | None = None
    eos_token_id: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in WHOLE:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise FtkitError(f"{name} is {value}: it must be a whole number of 1 or more")
        if self.num_attention_heads % self.num_key_value_heads:
            raise FtkitError(
                f"num_key_value_heads is {self.num_key_value_heads}: "
                f"it must divide num_attention_heads, {self.num_attention_heads}"
            )
        if self.head_dim % 2:
            raise FtkitError(f"head_dim is {self.head_dim}: rotary positions need an even number")
        for name in ("rms_norm_eps", "rope_theta"):
            if not 0 < getattr(self, name) < float("inf"):
                raise FtkitError(f"{name} is {getattr(self, name)}: it must be above 0")
        for token in (self.bos_token_id, self.pad_token_id, *self.eos_token_id):
            if token is not None and not 0 <= token < self.vocab_size:
                raise FtkitError(
                    f"token id {token} lies outside vocab_size, which is {self.vocab_size}"
                )

    @property
    def parameters(self) -> int:
        """How many parameters a model of this shape has."""
        width, heads = self.hidden_size, self.num_attention_heads + self.num_key_value_heads
        attention = 2 * heads * self.head_dim * width + 2 * self.head_dim
        block = attention + 3 * width * self.intermediate_size + 2 * width
        tables = self.vocab_size * width * (1 if self.tie_word_embeddings else 2)
        return tables + self.num_hidden_layers * block + width


PRESETS = {
    # 0.2M: seconds, to try things out.
    "pico": GPTConfig(
        vocab_size=1024,
        hidden_size=64,
        intermediate_size=176,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=128,
    ),
    # 3M parameters: four minutes on two cores.
    "nano": GPTConfig(),
    # 12M: half an hour on two cores, for real text.
    "mini": GPTConfig(
        vocab_size=8192,
        hidden_size=384,
        intermediate_size=1024,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=1024,
    ),
}


def preset(name: str, vocab_size: int | None = None, context: int | None = None) -> GPTConfig:
    """Return a preset's shape, with another vocabulary or context if given.

    Raises:
        FtkitError: for a name that is none; the message says the nearest.

    >>> preset("nano", context=256).max_position_embeddings
    256
    """
    if name not in PRESETS:
        raise FtkitError(f"no preset '{name}'{nearest(name, PRESETS)}")
    shape = PRESETS[name]
    return replace(
        shape,
        vocab_size=shape.vocab_size if vocab_size is None else vocab_size,
        max_position_embeddings=shape.max_position_embeddings if context is None else context,
    )
