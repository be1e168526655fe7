"""The shape of a GPT, in Hugging Face's words, and the presets that `ftkit pretrain` offers."""

from dataclasses import dataclass, fields, replace
from typing import Any

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


FAMILY_NAMES = ("qwen3", "llama", "gpt2")
BIGRAM = "bigram"  # no family of its own: llama's embedding, norm and output layer without a block


@dataclass(frozen=True)
class Scaling:
    """How rotary wavelengths are stretched, so that a trained model reads longer texts.

    Args:
        rope_type: "linear" (arXiv:2306.15595), "llama3" or "yarn" (arXiv:2309.00071).
        factor: how many times as long the context becomes.
        original_max_position_embeddings: the context before; not of "linear".
        low_freq_factor: of "llama3": wavelengths above the old context over this are stretched.
        high_freq_factor: of "llama3": those below the old context over this are left.
        beta_fast: of "yarn": pairs that turn more often than this within the old context are left.
        beta_slow: of "yarn": those that turn less often are stretched.
        attention_factor: of "yarn": what queries and keys are multiplied by.
    """

    rope_type: str
    factor: float
    original_max_position_embeddings: int | None = None
    low_freq_factor: float | None = None
    high_freq_factor: float | None = None
    beta_fast: float | None = None
    beta_slow: float | None = None
    attention_factor: float | None = None

    def __post_init__(self) -> None:
        for item in fields(self)[1:]:
            value = getattr(self, item.name)
            if value is not None and not 0 < value < float("inf"):
                raise FtkitError(f"{item.name} of rope is {value}: it must be above 0")
        low, high = self.low_freq_factor, self.high_freq_factor
        if low is not None and high is not None and low >= high:
            raise FtkitError(
                f"low_freq_factor of rope is {low}: it must be below high_freq_factor, {high}"
            )


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a model; field names and meanings are those of Hugging Face's config.json.

    Args:
        family: whose parts and names the model has, one of FAMILY_NAMES.
        vocab_size: rows of the embedding.
        hidden_size: width of the residual stream.
        intermediate_size: width inside the SwiGLU.
        num_hidden_layers: blocks; llama may have none, and is a bigram model then.
        num_attention_heads: query heads.
        num_key_value_heads: key and value heads; divides the query heads.
        head_dim: width of a head; even where positions are rotary, which turn pairs.
        max_position_embeddings: the context in tokens.
        rms_norm_eps: added to the mean square, or to gpt2's variance, before its root.
        rope_theta: base of the rotary wavelengths; gpt2 has none.
        rope_scaling: how the wavelengths were stretched after training, if they were.
        attention_bias: queries, keys, values and what joins them have biases; gpt2's always do.
        mlp_bias: the feed-forward part has biases; gpt2's always does.
        dropout: share of the activations set to 0 in training, at gpt2's three places.
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
    rope_scaling: Scaling | None = None
    attention_bias: bool = False
    mlp_bias: bool = False
    dropout: float = 0.0
    tie_word_embeddings: bool = True
    bos_token_id: int | None = None
    pad_token_id: int | None = None
    eos_token_id: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in WHOLE:
            value = getattr(self, name)
            least = 0 if name == "num_hidden_layers" and self.family == "llama" else 1
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise FtkitError(f"{name} is {value}: it must be a whole number of {least} or more")
        if self.num_attention_heads % self.num_key_value_heads:
            raise FtkitError(
                f"num_key_value_heads is {self.num_key_value_heads}: "
                f"it must divide num_attention_heads, {self.num_attention_heads}"
            )
        if self.family not in FAMILY_NAMES:
            raise FtkitError(f"no family '{self.family}'{nearest(self.family, FAMILY_NAMES)}")
        self._fits_family()
        for name in ("rms_norm_eps", "rope_theta"):
            if not 0 < getattr(self, name) < float("inf"):
                raise FtkitError(f"{name} is {getattr(self, name)}: it must be above 0")
        if self.rope_theta <= 1 and self.rope_scaling and self.rope_scaling.rope_type == "yarn":
            raise FtkitError(f"rope_theta is {self.rope_theta}: rope_type 'yarn' needs more than 1")
        for token in (self.bos_token_id, self.pad_token_id, *self.eos_token_id):
            if token is not None and not (isinstance(token, int) and 0 <= token < self.vocab_size):
                raise FtkitError(
                    f"token id {token} lies outside vocab_size, which is {self.vocab_size}"
                )

    def _fits_family(self) -> None:
        """Refuse what the family's architecture in transformers cannot be."""
        if self.family != "gpt2" and self.head_dim % 2:
            raise FtkitError(f"head_dim is {self.head_dim}: rotary positions need an even number")
        if self.family != "gpt2" and self.dropout:
            raise FtkitError(f"dropout is {self.dropout}: family {self.family} has none")
        if not 0 <= self.dropout < 1:
            raise FtkitError(f"dropout is {self.dropout}: it must be 0 or more and below 1")
        if self.family == "qwen3" and self.mlp_bias:
            raise FtkitError("mlp_bias is True: family qwen3 has no such biases")
        if self.family == "llama" and self.hidden_size % self.num_attention_heads:
            raise FtkitError(
                f"hidden_size is {self.hidden_size}: family llama needs a multiple of "
                f"num_attention_heads, {self.num_attention_heads}"
            )
        if self.family != "gpt2":
            return
        if not self.attention_bias or not self.mlp_bias:
            raise FtkitError("attention_bias and mlp_bias are True in family gpt2")
        if self.rope_scaling is not None:
            raise FtkitError("rope_scaling is set: family gpt2 has no rotary positions")
        if self.num_key_value_heads != self.num_attention_heads:
            raise FtkitError(
                f"num_key_value_heads is {self.num_key_value_heads}: family gpt2 has one for each "
                f"of its {self.num_attention_heads} heads"
            )
        if self.head_dim * self.num_attention_heads != self.hidden_size:
            raise FtkitError(
                f"head_dim is {self.head_dim}: family gpt2 divides hidden_size, "
                f"{self.hidden_size}, among {self.num_attention_heads} heads"
            )

    @property
    def parameters(self) -> int:
        """How many parameters a model of this shape has."""
        width, inner = self.hidden_size, self.intermediate_size
        query, shared = (
            heads * self.head_dim for heads in (self.num_attention_heads, self.num_key_value_heads)
        )
        attention = 2 * (query + shared) * width
        attention += (query + 2 * shared + width) * self.attention_bias
        attention += 2 * self.head_dim * (self.family == "qwen3")
        plain = self.family == "gpt2"  # two matrices and no gate; norms with biases; positions
        maps, norm = 2 if plain else 3, 2 * width if plain else width
        forward = maps * width * inner + ((maps - 1) * inner + width) * self.mlp_bias
        tables = self.vocab_size * width * (1 if self.tie_word_embeddings else 2)
        tables += self.max_position_embeddings * width * plain
        return tables + self.num_hidden_layers * (attention + forward + 2 * norm) + norm


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
    # 30M: a night on two cores, minutes on a GPU.
    "small": GPTConfig(
        vocab_size=16_384,
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=2,
        max_position_embeddings=1024,
    ),
    # 124M: the size, and by default the family, of the smallest GPT-2; for a GPU.
    "gpt2": GPTConfig(
        family="gpt2",
        vocab_size=50_304,
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        num_key_value_heads=12,
        max_position_embeddings=1024,
        rms_norm_eps=1e-5,
        attention_bias=True,
        mlp_bias=True,
    ),
}


def preset(
    name: str,
    vocab_size: int | None = None,
    context: int | None = None,
    family: str | None = None,
) -> GPTConfig:
    """Return a preset's shape, with another vocabulary, context or family if given.

    Raises:
        FtkitError: for a preset or family that is none; the message says the nearest.

    >>> preset("nano", context=256).max_position_embeddings
    256
    >>> preset("nano", family="gpt2").intermediate_size
    1024
    >>> preset("nano", family="bigram").num_hidden_layers
    0
    """
    if name not in PRESETS:
        raise FtkitError(f"no preset '{name}'{nearest(name, PRESETS)}")
    families = *FAMILY_NAMES, BIGRAM
    if family is not None and family not in families:
        raise FtkitError(f"no family '{family}'{nearest(family, families)}")
    shape = PRESETS[name]
    if family is not None and family != shape.family:
        shape = replace(shape, **_of_family(shape, family))
    if vocab_size is not None:
        shape = replace(shape, vocab_size=vocab_size)
    return shape if context is None else replace(shape, max_position_embeddings=context)


def _of_family(shape: GPTConfig, family: str) -> dict[str, Any]:
    """Say what a preset's shape changes to have another family's parts at about its size."""
    plain, width, heads = family == "gpt2", shape.hidden_size, shape.num_attention_heads
    changes: dict[str, Any] = {"family": family, "attention_bias": plain, "mlp_bias": plain}
    changes["rms_norm_eps"] = 1e-5 if plain else 1e-6
    if plain:  # its paper's proportions
        return changes | {"num_key_value_heads": heads, "intermediate_size": 4 * width}
    if shape.family == "gpt2":  # three maps where gpt2 has two
        changes["intermediate_size"] = 8 * width // 3
    if family == BIGRAM:  # nothing but the last token is read: the next one follows from it alone
        changes |= {"family": "llama", "num_hidden_layers": 0, "tie_word_embeddings": False}
    return changes
