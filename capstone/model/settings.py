"""Every number that decides what the model becomes. Change one here, and run the README's commands again."""

SEED = 20260

# Corpus. Chapters of the Book that are never trained on: 9 "Error Handling" and 16 "Fearless Concurrency".
HELD_OUT_CHAPTERS = ("ch09-", "ch16-")
MAX_SUMMARY_WORDS = 60
VOCAB = 8192

# Conversation.
BOS, EOS, SYSTEM, USER, ASSISTANT = "<|bos|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"
REFUSAL = "That name is not in the Rust standard library documentation."
SAMPLED_ITEMS = 1000
HELD_OUT_NAMES = 500

CONTEXT = 1024
MAIN = dict(hidden=384, layers=6, heads=12, kv_heads=4, head_dim=32, intermediate=768, dropout=0.2)
DRAFT = dict(hidden=96, layers=3, heads=6, kv_heads=2, head_dim=16, intermediate=192, dropout=0.0)

# Training: seconds decide, so that a run fits a lease; the learning rate falls linearly to zero by then.
TRAIN_SECONDS = 270
DRAFT_SECONDS = 125
QA_LENGTHS, QA_TOKENS = (48, 96, 256), 49152  # rows of a batch are padded to one of these lengths
# Prose is small (2.3 M tokens) beside the model: few windows a step, and dropout on prose only, or it is learnt by heart.
PROSE_BATCH, PROSE_LENGTH = 4, CONTEXT
LEARNING_RATE, DRAFT_LEARNING_RATE = 3e-3, 4e-3
WEIGHT_DECAY = 0.1
WARMUP_STEPS = 200
PROSE_WEIGHT = 0.3
